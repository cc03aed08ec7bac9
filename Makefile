# What can be done here. `make` alone lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-cluster check model model-wide test test-kills test-kills-cluster test-hub-cuts test-apps test-argocd test-booted test-runtimes \
	test-node test-all cluster-tools \
	deny advisories bench-apache bench-cutover bench-hub bench-operator deb static tarball test-newer-nginx test-hub-away test-git-large

CARGO ?= cargo
# Tests that take too long for `cargo test`: each has a target here. Its lints are judged with all the others.
SUITES := argocd booted java package python runtimes
# nginx lives in sbin, which an ordinary user's PATH leaves out; rustup's cargo may not be on it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin
# Nobody builds there a second time, and what it would be quicker by takes gigabytes.
ifdef CI
export CARGO_INCREMENTAL := 0
endif
# What takes long to make and doesn't belong to a checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bluegreen

help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Watch a real site go from blue to green under load, with nothing lost
	@scripts/setup.sh demo
	@$(CARGO) build --quiet --release --workspace --bins
	@target/release/demo

demo-cluster: ## Watch a site on a real control plane go from v1 to v2, refuse a broken v3, and go back
	@scripts/setup.sh cluster
	@scripts/cluster-tools.sh etcd kube kwok >/dev/null
	@$(CARGO) build --quiet --release --workspace --bins
	@target/release/demo-cluster

check: ## The quick one: format, lints, unit tests, the search of the logic
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(SUITES:%=--test %) --locked -- -D warnings
	$(CARGO) test --workspace --lib --bins --locked --quiet
	@$(MAKE) --no-print-directory model

model: ## Search every state that the rollout logic can reach
	$(CARGO) test --package bluegreen-model --locked -- --nocapture

model-wide: ## The same within wider bounds: some five minutes
	BLUEGREEN_WIDE_SEARCH=1 $(CARGO) test --package bluegreen-model --locked -- --nocapture

test-kills-cluster: ## Kill the operator that leads a hundred times, and freeze it for a minute in each phase
	BLUEGREEN_KILLS=100 BLUEGREEN_FREEZE_SECONDS=60 $(CARGO) test --test operator --locked leaders::

# Where nothing may be mounted this nginx can't run at all: it has its libraries by a mount.
test-newer-nginx: ## The contract suite of web servers against the nginx of a newer Debian (root)
	@scripts/setup.sh test
	BLUEGREEN_NGINX="$$(scripts/newer-nginx.sh)" $(CARGO) test --test web --locked -- --skip ::apache:: --skip where_nothing_may_be_mounted

test-kills: ## Kill the agent a hundred times at random moments of rollouts under load
	BLUEGREEN_KILLS=100 $(CARGO) test --test agent --locked an_agent_that_is_killed_at_any_moment

test-hub-cuts: ## Cut or silence the network between two hosts and their hub fifty times in mid-rollout under load
	@scripts/cluster-tools.sh etcd kube >/dev/null
	BLUEGREEN_HUB_CUTS=50 $(CARGO) test --test hub --locked cuts::

test-hub-away: ## Take the hub away from a host for ten minutes in the middle of rollouts under load
	@scripts/cluster-tools.sh etcd kube >/dev/null
	BLUEGREEN_HUB_AWAY_SECONDS=600 $(CARGO) test --test hub --locked long::

test-git-large: ## Follow a Git repository of two gigabytes (eight on the disk)
	BLUEGREEN_GIT_MIB=2048 $(CARGO) test --test git --locked a_repository_that_is_too_large

test-argocd: ## Sync a repository to a cluster and to two hosts by the real Argo CD, under load (root; three minutes)
	@scripts/setup.sh test
	@scripts/cluster-tools.sh >/dev/null
	$(CARGO) test --workspace --test argocd --locked

test-booted: ## Every kind of app, the firewall, reboots and both packages on a booted Debian (root; ten minutes)
	@scripts/setup.sh test
	$(CARGO) test --workspace --test booted --test package --locked

test-apps: ## Real Spring Boot, Tomcat, Django, Flask, FastAPI, CGI, PHP and Node behind nginx and Apache (root; a quarter of an hour)
	@scripts/setup.sh test
	$(CARGO) test --workspace --test java --test python --test runtimes --locked

test-runtimes: ## Twenty cutovers of each kind of app on nginx and on Apache under load (half an hour)
	@scripts/setup.sh test
	BLUEGREEN_RUNTIME_CUTOVERS=20 $(CARGO) test --workspace --test java --test python --test runtimes --locked -- --nocapture cutovers::

test-node: ## Fifty cutovers through a Service and fifty through an HTTPRoute of a real node under load, the operator in a pod (root; half an hour)
	@scripts/setup.sh node
	@scripts/cluster-tools.sh etcd kube node helm traefik >/dev/null
	$(CARGO) test --test node --locked -- --ignored --test-threads=1 --nocapture

test: ## All that fits into an hour, installing what it needs (the rest has suites of its own: test-all)
	@scripts/setup.sh test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(SUITES:%=--test %) --locked -- -D warnings
	@scripts/cluster-tools.sh >/dev/null
	$(CARGO) test --workspace --locked --no-fail-fast

test-all: test test-apps test-argocd test-booted model-wide test-kills test-kills-cluster test-hub-cuts test-runtimes test-node test-newer-nginx test-hub-away test-git-large deny advisories ## Everything, a real node and what comes in from outside too (root; hours)

cluster-tools: ## Build the programs of a cluster from Go modules, once (half an hour), and say where they are
	@scripts/setup.sh cluster
	@scripts/cluster-tools.sh

deny: ## Judge what comes in from outside: licences, bans, sources
	@command -v cargo-deny >/dev/null || test -x $(CACHE)/cargo-deny/bin/cargo-deny || \
		CARGO_TARGET_DIR=$(CACHE)/cargo-deny/target $(CARGO) install --locked --root $(CACHE)/cargo-deny cargo-deny
	PATH="$(CACHE)/cargo-deny/bin:$$PATH" $(CARGO) deny --locked check bans licenses sources

advisories: deny ## Look for known holes in what comes in from outside (asks github.com)
	PATH="$(CACHE)/cargo-deny/bin:$$PATH" $(CARGO) deny --locked check advisories

# What is packed: `make deb PROFILE=dev` is quick to build, and large.
PROFILE ?= dist
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
PACKAGES := target/packages

deb: ## Build the Debian package of the agent and the command line (PROFILE=dev for a quick one)
	$(CARGO) build --quiet --locked --profile $(PROFILE) --bin bluegreen
	@mkdir -p $(PACKAGES)
	@scripts/build-deb.sh deb target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/bluegreen $(VERSION) $(PACKAGES)

static: ## Build the program of the Containerfile, which needs nothing but the kernel (minutes), and say where it is
	@scripts/build-static.sh

tarball: ## The same as a .tar.gz, for machines without dpkg
	$(CARGO) build --quiet --locked --profile $(PROFILE) --bin bluegreen
	@mkdir -p $(PACKAGES)
	@scripts/build-deb.sh tarball target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/bluegreen $(VERSION) $(PACKAGES)

bench-operator: ## Measure the operator with 1,000 sites (N=10000 for more) on a real API server (half an hour)
	@scripts/setup.sh cluster
	@$(CARGO) build --quiet --release --package bluegreen-rig --bins
	@$(CARGO) build --quiet --profile dist --bin bluegreen
	@BLUEGREEN_PROGRAM=target/dist/bluegreen target/release/bench-operator

bench-hub: ## Measure 500 hosts with 2,000 sites on one API server (N=50 for fewer), and how soon a commit is a cutover (root)
	@scripts/setup.sh cluster
	@scripts/setup.sh bench
	@$(CARGO) build --quiet --release --package bluegreen-rig --bins
	@$(CARGO) build --quiet --profile dist --bin bluegreen
	@BLUEGREEN_PROGRAM=target/dist/bluegreen target/release/bench-hub

bench-apache: ## Measure requests a second behind Apache, beside a static ProxyPass (two minutes)
	@scripts/setup.sh bench
	@$(CARGO) build --quiet --release --package bluegreen-rig --bins
	@$(CARGO) build --quiet --profile dist --bin bluegreen
	@BLUEGREEN_PROGRAM=target/dist/bluegreen target/release/bench-apache

bench-cutover: ## Measure what a cutover loses and costs, beside the known recipe (a quarter of an hour)
	@scripts/setup.sh bench
	@$(CARGO) build --quiet --release --package bluegreen-rig --bins
	@$(CARGO) build --quiet --profile dist --bin bluegreen
	@BLUEGREEN_PROGRAM=target/dist/bluegreen target/release/bench-cutover
