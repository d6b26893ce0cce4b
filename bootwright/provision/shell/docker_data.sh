#!/bin/sh
# Reports what Docker has on the board.
#
# Needs: remote/shell/sections.sh, hosts/shell/root_docker.sh.
# Prints this section, then the end:
#   names  a line for each container, image and volume: what it is, and its name
# Variables: none.

section names
{
    docker ps -a --format 'container {{.Names}}'
    docker images --format 'image {{.Repository}}:{{.Tag}}'
    docker volume ls --format 'volume {{.Name}}'
} 2>/dev/null | quoted
section end
