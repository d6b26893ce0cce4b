# Completion of inv and bootwright for fish.
# The program itself computes the words that can follow: bootwright/core/completion.py.

function __bootwright_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l program (string replace --regex '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    set -l found ($program --complete -- $words "$current" 2>/dev/null)
    # In --option=PATH, only the part after = is a path.
    set -l option (string match --regex '^--[^=]*=' -- $current; or echo)
    set -l path (string replace --regex '^--[^=]*=' '' -- $current)
    switch "$found[1]"
        case :file
            printf '%s\n' $option(__fish_complete_path "$path")
        case :folder
            printf '%s\n' $option(__fish_complete_directories "$path" '')
        case '*'
            printf '%s\n' $found
    end
end

for program in inv bootwright
    complete --command $program --no-files --arguments '(__bootwright_complete)'
end
