import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { makeKeys, provideRunDirectory, writeSshdConfig } from '../../lab/sshd.ts';
import { expectData, type Pair, type Place, type Server, TEXT, wrote } from '../pair.ts';
import { GIT_SCRIPT } from './git.ts';
import { PROTECTED } from './web.ts';

/**
 * OpenSSH. The library comes to sshd as to any service, by variables of its environment; the server's sandbox for what
 * is not yet authenticated must hold with it.
 */

const PASSPHRASE = 'open sesame';

/**
 * What ssh runs to ask for the passphrase: it is between the server's offer and the proof, so that sshd's unprivileged
 * child for this connection is there to be looked at. One line for each process below the server.
 */
const ASKPASS = `#!/bin/bash
directory=$(dirname "$0")
below() {
  local child
  for child in $(cat "/proc/$1/task/$1/children"); do
    echo "$(awk '/^(Uid|NoNewPrivs|Seccomp|CapEff):/ { print $1, $2 }' "/proc/$child/status" | tr '\\n' ' ')" \\
      "Root: $(readlink "/proc/$child/root")" \\
      "Library: $(grep -q libknockify "/proc/$child/maps" && echo yes || echo no)"
    below "$child"
  done
}
below "$(cat "$directory/sshd.pid")" >"$directory/processes"
echo '${PASSPHRASE}'
`;

const SSHD: Server = {
  name: 'sshd',
  prepare({ directory, address, port }) {
    provideRunDirectory();
    makeKeys(directory);
    const locked = join(directory, 'locked_key');
    copyFileSync(join(directory, 'user_key'), locked);
    execFileSync('ssh-keygen', ['-q', '-p', '-P', '', '-N', PASSPHRASE, '-f', locked]);
    writeFileSync(join(directory, 'askpass'), ASKPASS, { mode: 0o755 });
    const hostKey = readFileSync(join(directory, 'host_key.pub'), 'latin1');
    writeFileSync(join(directory, 'known_hosts'), `[${address}]:${port} ${hostKey}`);
    const more = [`PidFile ${directory}/sshd.pid`, 'Subsystem sftp /usr/lib/openssh/sftp-server'];
    writeSshdConfig(directory, { address, port }, more);
    writeFileSync(join(directory, 'text'), TEXT);
    execFileSync('git', ['init', '-q', '--bare', '-b', 'main', join(directory, 'shared.git')]);
  },
  invocation: ({ directory, port }) => ({
    command: ['/usr/sbin/sshd', '-D', '-e', '-f', `${directory}/sshd_config_${port}`],
  }),
};

const optionsOf = ({ directory, port }: Place, key = 'user_key') => [
  ...['-F', 'none', '-i', `${directory}/${key}`, '-o', `Port=${port}`, '-o', 'IdentitiesOnly=yes'],
  ...['-o', `UserKnownHostsFile=${directory}/known_hosts`, '-o', 'StrictHostKeyChecking=yes'],
];

/** The unprivileged child: no capability, no way to gain any, a system call filter, and an empty root. */
const SANDBOXED = /^Uid: [1-9]\d* CapEff: 0+ NoNewPrivs: 1 Seccomp: 2 {2}Root: \/run\/sshd Library: (.+)$/m;

function kept({ directory }: Place, file: string): void {
  expectData(readFileSync(join(directory, file)));
}

const SHARED: Pick<Pair, 'server' | 'integrity' | 'remark'> = {
  server: SSHD,
  integrity: PROTECTED,
  remark: "the client's version, which protects nothing: thesis 8.6",
};

export const SSH: readonly Pair[] = [
  {
    name: 'ssh',
    ...SHARED,
    client: (place) => ({
      command: [
        ...['ssh', ...optionsOf(place, 'locked_key'), '-l', 'root', place.address],
        // What the user runs is not under the library, and learns nothing of it.
        'cat && ! env | grep -E "^(LD_PRELOAD|KNOCK_)"',
      ],
      env: { SSH_ASKPASS: `${place.directory}/askpass`, SSH_ASKPASS_REQUIRE: 'force' },
      input: TEXT,
    }),
    async prove(outcome, place, server) {
      await wrote()(outcome, place, server);
      const processes = readFileSync(join(place.directory, 'processes'), 'latin1');
      expect(processes).toMatch(SANDBOXED);
      const hidden = readFileSync(`/proc/${server.pid}/maps`, 'latin1').includes('libknockify');
      expect(SANDBOXED.exec(processes)?.[1]).toBe(hidden ? 'yes' : 'no');
    },
  },
  {
    name: 'scp',
    ...SHARED,
    client: (place) => {
      const { directory, host } = place;
      const target = `root@${host}:${directory}/copied`;
      return { command: ['scp', ...optionsOf(place), `${directory}/text`, target] };
    },
    prove({ status }, place) {
      expect(status).toBe(0);
      kept(place, 'copied');
    },
  },
  {
    name: 'sftp',
    ...SHARED,
    client: (place) => ({
      command: ['sftp', ...optionsOf(place), '-b', '-', `root@${place.host}`],
      cwd: place.directory,
      input: `put text ${place.directory}/uploaded\nget ${place.directory}/uploaded downloaded\n`,
    }),
    prove({ status }, place) {
      expect(status).toBe(0);
      kept(place, 'uploaded');
      kept(place, 'downloaded');
    },
  },
  {
    name: 'git over ssh, push and clone',
    ...SHARED,
    client: (place) => {
      const { directory, host, port } = place;
      const url = `ssh://root@${host}:${port}${directory}/shared.git`;
      return {
        command: ['bash', '-c', GIT_SCRIPT, 'bash', url, directory],
        env: { GIT_SSH_COMMAND: ['ssh', ...optionsOf(place)].join(' ') },
        input: TEXT,
      };
    },
    connections: 2,
    prove: wrote(),
  },
];
