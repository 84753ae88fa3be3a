# What a person types. Each target is one script, which says in its first lines what it does and which settings it knows.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export

.PHONY: help ready demo demo-down test check lint gen sim soak bench

help: ## This list
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' Makefile | expand -t 12

ready: ## Install what building and testing need (prints it first; YES=1 asks nothing)
	@scripts/setup

demo: ## The whole way on this machine: cluster, operator, database, five questions
	@scripts/demo

demo-down: ## End the demo's cluster
	@scripts/demo-down

test: ## Everything that CI checks (PARTS="fmt clippy …" for some of it)
	@scripts/test

check: ## Quick: does it compile, is it formatted
	@PARTS="fmt" scripts/test && source scripts/env.sh && cargo check --release --workspace --all-targets

lint: ## Formatting, clippy, licences, generated files
	@PARTS="fmt clippy build deny gen" scripts/test

gen: ## Write the generated files (CRDs and the chart's copy of them)
	@scripts/gen

sim: ## Simulated worlds: a cluster (SEEDS=n fresh ones, SEED=one again), or losses of power (POWER=n)
	@scripts/sim

soak: ## A long proof: PART=kill9 | memory | sim | fuzz | roles | charts | guides | peers | promises | zones | load | many | conformance
	@tests/soak/run $(PART)

bench: ## Measure on this machine (PEERS=milvus,hnswlib,faiss for the peers in the same run; PART=scale | writes | filters | growth)
	@tests/bench/run
