#!/bin/sh
# Every docker command of the script uses the socket of root's own daemon, whatever the environment
# of root says: a context (`docker context use`), DOCKER_CONTEXT or DOCKER_HOST may lead to another
# engine. Source: docker(1), "Environment variables"; DOCKER_HOST overrides the context in
# ~/.docker/config.json.
#
# Prints: nothing.
# Variables: none.

unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_CONFIG \
    DOCKER_DEFAULT_PLATFORM
DOCKER_HOST=unix:///run/docker.sock
export DOCKER_HOST
