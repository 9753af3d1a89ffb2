import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from '../lab/capture.ts';
import type { Family } from '../lab/netns.ts';
import { shape, syns } from '../lab/packets.ts';
import { type Program, run, start, untilListening } from '../lab/program.ts';
import { makeKeys, provideRunDirectory, writeSshdConfig } from '../lab/sshd.ts';
import { FAMILIES, openStealthLab, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { takeApart } from '../lab/syn.ts';

/** ssh to sshd, authentication only: the server speaks first, or the client may, so nothing of it is protected. */

const PORTS: Readonly<Record<Family, number>> = { ipv4: 2204, ipv6: 2206, mapped: 2246 };

let stealth: StealthLab;
const servers: Program[] = [];

beforeAll(async () => {
  stealth = await openStealthLab();
  provideRunDirectory();
  makeKeys(stealth.lab.directory);
  for (const family of FAMILIES) servers.push(await startSshd(family));
});
afterAll(() => stealth?.close());

const inLab = (name: string) => join(stealth.lab.directory, name);

async function startSshd(family: Family): Promise<Program> {
  // sshd sets IPV6_V6ONLY: only the client's socket is an IPv6 one.
  const address = stealth.server.addresses[family === 'mapped' ? 'ipv4' : family];
  const config = writeSshdConfig(stealth.lab.directory, { address, port: PORTS[family] });
  const program = start(stealth.server, ['/usr/sbin/sshd', '-D', '-e', '-f', config], {
    knock: stealth.knock(stealth.server),
  });
  await untilListening(program, PORTS[family]);
  return program;
}

function ssh(family: Family): string[] {
  return [
    'ssh',
    ...['-F', 'none', '-i', inLab('user_key'), '-p', String(PORTS[family])],
    ...['-o', 'StrictHostKeyChecking=accept-new', '-o', `UserKnownHostsFile=${inLab('known_hosts')}`],
    ...['-o', 'LogLevel=ERROR', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=8'],
    ...['-l', 'root', stealth.server.addresses[family]],
    'echo "$SSH_CONNECTION" && cat',
  ];
}

describe.each(FAMILIES)('over %s', (family) => {
  test('ssh with the secret runs a command', async () => {
    const input = 'a line to be echoed\n'.repeat(1000);
    const { result, packets } = await capturing(stealth.lab, () =>
      run(stealth.client, ssh(family), { knock: stealth.knock(stealth.client), input }),
    );
    expect(result).toMatchObject({ status: 0, stderr: '' });
    const [connection, ...echo] = result.stdout.split('\n');
    expect(connection).toContain(` ${PORTS[family]}`);
    expect(echo.join('\n')).toBe(input);
    expect(syns(packets)).toHaveLength(1);
    for (const syn of syns(packets)) {
      const taken = takeApart(syn, SECRET);
      expect(taken.onTheWire).toBe(taken.computed);
    }
  });

  test('ssh without it is refused', async () => {
    const { result, packets } = await capturing(stealth.lab, () => run(stealth.client, ssh(family)));
    expect(result.status).toBe(255);
    expect(result.stderr).toContain('Connection refused');
    expect(shape(packets, PORTS[family])).toEqual(['> S 0', '< RA 0']);
  });
});
