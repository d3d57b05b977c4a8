# A thin front for meson; every target is one script that can also be called by itself.
PREFIX ?= /usr/local
export TASK

.PHONY: help deps deps-build build run test conformance bench asan tsan fuzz soak format lint deb image install clean

help:
	@echo 'make deps      install what building, testing and measuring need (Debian, Ubuntu; root or sudo)'
	@echo 'make build     build into build/ (installs nothing; fetches Swagger UI for /docs into build/ if there is npm)'
	@echo 'make run       install what building needs, build, start the server and play the demonstration;'
	@echo "               TASK='...' with LLM_API_KEY and LLM_MODEL set: run that task with that model instead"
	@echo 'make test      install, build, run every test'
	@echo 'make conformance  the official clients against this server, as a table'
	@echo 'make bench     install, build, measure'
	@echo 'make asan      the unit tests under AddressSanitizer and UBSan (tsan: ThreadSanitizer)'
	@echo 'make fuzz      each fuzz target for SECONDS=30'
	@echo 'make soak      30 minutes with 200 conversations (MINUTES=, CONVERSATIONS=): memory ends where it began'
	@echo 'make lint      clang-format, clang-tidy, cppcheck, the layers'
	@echo 'make format    let clang-format rewrite the sources'
	@echo 'make install   into PREFIX=/usr/local (DESTDIR is honoured)'
	@echo 'make deb       a package for this distribution: build/handsd_*.deb'
	@echo 'make image     what a container needs and nothing else: build/rootfs (packaging/container)'
	@echo 'make clean     remove build/'

deps:
	@scripts/deps all

# What a user of the server needs, without the compilers and tools of the tests.
deps-build:
	@scripts/deps build

build:
	@scripts/build build

run: deps-build
	@scripts/build build
	@scripts/run

test: deps
	@scripts/build build
	@scripts/test

conformance: deps
	@scripts/build build
	@scripts/conformance

bench: deps
	@scripts/build build
	@scripts/bench

asan: deps
	@scripts/sanitize address

tsan: deps
	@scripts/sanitize thread

fuzz: deps
	@scripts/fuzz $(or $(SECONDS),30)

soak: deps
	@scripts/build build
	@scripts/soak $(or $(MINUTES),30) $(or $(CONVERSATIONS),200)

format:
	@scripts/lint --fix format

lint: deps
	@scripts/build build
	@scripts/lint

install:
	@scripts/build build
	meson configure build --prefix "$(PREFIX)"
	ninja -C build # takes the prefix in: installing alone would use the one before
	meson install -C build --no-rebuild --strip

deb: deps-build
	@scripts/deb

image: deps-build
	@scripts/rootfs build/rootfs

clean:
	rm -rf build
