// The Prometheus operator's definition of a PodMonitor: the file, none of its code.
module podmonitor

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
