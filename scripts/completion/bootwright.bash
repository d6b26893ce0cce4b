#!/usr/bin/env bash
# Completion of inv and bootwright for bash; to be sourced, or found by bash-completion under the
# command's name. The program itself computes the words that can follow:
# bootwright/core/completion.py.

_bootwright() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word rest number
    # Bash also splits words at = and :. Here only blanks separate words.
    for ((number = 0; number <= COMP_CWORD; number++)); do
        rest=${line#"${line%%[![:blank:]]*}"}
        word=${COMP_WORDS[number]}
        # The cursor may stand within the last one.
        ((number < COMP_CWORD)) || word=$rest
        if ((number > 0)) && [[ $rest == "$line" ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"$word"}
    done

    # The part that bash does not replace: up to the last = or :, if bash splits words there.
    local current=${words[${#words[@]} - 1]} kept=
    local cuts=${COMP_WORDBREAKS//[^=:]/}
    if [[ -n $cuts && $current == *[$cuts]* ]]; then
        kept=${current%"${current##*["$cuts"]}"}
    fi

    local found
    mapfile -t found < <("${1/#\~\//$HOME/}" --complete -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    for word in "${found[@]}"; do
        case $word in
        :file) compopt -o default ;;
        :folder) compopt -o dirnames ;;
        "$current"*)
            word=${word%%$'\t'*}
            COMPREPLY+=("${word#"$kept"}")
            ;;
        esac
    done
}

complete -F _bootwright inv bootwright
