import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's sshd takes no other place for its privilege separation; it makes it only when a service manager starts it. */
const PRIVILEGE_SEPARATION = '/run/sshd';

/** Makes the directory that sshd wants, and takes it away when this process ends, if it was not there before. */
export function provideRunDirectory(): void {
  try {
    mkdirSync(PRIVILEGE_SEPARATION, { mode: 0o755 });
  } catch {
    return;
  }
  process.once('exit', () => rmdirSync(PRIVILEGE_SEPARATION));
}

/** Writes keys for a server and for one user, root, into a directory: `host_key`, `user_key`, `authorized_keys`. */
export function makeKeys(directory: string): void {
  for (const name of ['host_key', 'user_key']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)]);
  }
  copyFileSync(join(directory, 'user_key.pub'), join(directory, 'authorized_keys'));
  chmodSync(join(directory, 'authorized_keys'), 0o600);
}

/** Writes the configuration of a server with those keys; returns its path. */
export function writeSshdConfig(
  directory: string,
  listen: { readonly address: string; readonly port: number },
  more: readonly string[] = [],
): string {
  const config = join(directory, `sshd_config_${listen.port}`);
  const lines = [
    // Of several lines with one keyword the first counts.
    ...more,
    `Port ${listen.port}`,
    `ListenAddress ${listen.address}`,
    `HostKey ${join(directory, 'host_key')}`,
    `AuthorizedKeysFile ${join(directory, 'authorized_keys')}`,
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'UsePAM no',
    // The lab's directory is below /tmp, which everybody may write to.
    'StrictModes no',
    'PidFile none',
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  return config;
}
