// Package ext holds what another edition of Traefik adds to its configuration. Traefik's own, which no module proxy has, is as empty.
package ext

// HTTP adds nothing.
type HTTP struct{}

// Router adds nothing.
type Router struct{}
