import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { expectData, type Pair, saying, TEXT } from '../pair.ts';
import { GIT, urlOf } from './lighttpd.ts';
import { PROTECTED } from './web.ts';

/** git over HTTP: pushes a file, clones it, and writes the clone's to standard output. */

/** Arguments: the URL, and a directory to work in. */
export const GIT_SCRIPT = `set -e
work=$(mktemp -d "$2/work-XXXXXX")
export HOME="$work" GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
git init -q -b main "$work/first"
cat >"$work/first/text"
git -C "$work/first" add text
git -C "$work/first" -c user.name=lab -c user.email=lab@lab commit -q -m 'One text'
git -C "$work/first" push -q "$1" main
git clone -q -b main "$1" "$work/second"
cat "$work/second/text"`;

export const GIT_PAIRS: readonly Pair[] = [
  {
    name: 'git, push and clone',
    server: GIT,
    client: (place) => ({
      command: ['bash', '-c', GIT_SCRIPT, 'bash', urlOf(place, 'git/shared.git'), place.directory],
      input: TEXT,
    }),
    connections: 2,
    refused: saying(/Failed to connect|Connection refused/),
    prove({ status, stdout, stderr }, { directory }) {
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expectData(stdout);
      // `shared.git` is the server's own.
      const kept = execFileSync('git', ['-C', join(directory, 'shared.git'), 'show', 'main:text']);
      expectData(kept);
    },
    integrity: PROTECTED,
  },
];
