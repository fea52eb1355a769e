.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt spec bench bench-audit sbom tools soak kill verify chart-readme verify-deploy

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

demo: ## Build it and see the main job; ARGS='--once' exits after the tour
	cargo run --quiet --locked -- demo $(ARGS)

test: ## Install what is missing and check everything
	@bash tests/tools/test.sh

lint: ## Formatting and lints alone
	cargo fmt --all --check
	cargo clippy --locked --all-targets --features bench -- -D warnings
	cargo clippy --locked --no-default-features --lib --bins -- -D warnings

fmt: ## Format the code
	cargo fmt --all

spec: ## Refresh openapi/openapi.json from the handlers
	@mkdir -p openapi
	cargo run --quiet --locked -- openapi > target/openapi.json
	mv target/openapi.json openapi/openapi.json

bench: ## Micro-benchmarks of the hot steps
	cargo bench --locked --features bench

bench-audit: ## What the durable trail costs on this disk; writes docs/performance.md
	ZENGATE_FIGURES_SECONDS=5 ZENGATE_FIGURES_REPORT=$(CURDIR)/docs/performance.md \
		cargo test --locked --release --test process figures

sbom: ## What is in the binary, as CycloneDX: target/zengate.cdx.json
	@test -x target/tools/bin/cargo-cyclonedx || CARGO_TARGET_DIR=target/tools/build \
		cargo install --quiet --debug --locked --root target/tools cargo-cyclonedx@0.5.9
	target/tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --no-default-features --target x86_64-unknown-linux-gnu --override-filename zengate.cdx
	mv zengate.cdx.json target/

tools: ## Install what the tests need
	bash tests/tools/install.sh

soak: ## Half an hour of mixed traffic while all around it changes; writes docs/reliability.md
	ZENGATE_SOAK_SECONDS=1800 ZENGATE_SOAK_REPORT=$(CURDIR)/docs/reliability.md \
		cargo test --locked --test process soak

kill: ## Two hundred kill -9 under load, on each store; writes docs/reliability.md
	ZENGATE_KILL_ROUNDS=200 ZENGATE_KILL_REPORT=$(CURDIR)/docs/reliability.md \
		cargo test --locked --test process kills -- --test-threads=1

chart-readme: ## Refresh helm/zengate/README.md from its values.yaml
	target/tools/venv/bin/python tests/chart/readme.py > target/chart-readme.md
	mv target/chart-readme.md helm/zengate/README.md

verify-deploy: ## Build and run the image, the compose file's parts and the unit's; by hand, as root
	bash tests/tools/verify_deploy.sh

verify: soak kill ## The long versions of the checks
	ZENGATE_TEST_SWAPS=1000 cargo test --locked --test api reload
