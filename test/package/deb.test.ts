import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Status } from '../../ts/spec/status.ts';
import { DOCUMENTS, linksOf } from '../docs/blocks.ts';
import { type Control, startControl } from '../lab/control.ts';
import { knockFilters } from '../lab/filters.ts';
import { type Lab, openLab } from '../lab/netns.ts';
import { type Outcome, REPOSITORY, run, start } from '../lab/program.ts';
import { bootMachine, type Machine } from './machine.ts';

/** The Debian package on a machine of its own, as docs/install.md has it, command by command. */

const GUIDE = readFileSync(join(REPOSITORY, 'docs/install.md'), 'utf8');
const SECRETS = readFileSync(join(REPOSITORY, 'docs/secrets.md'), 'utf8');
const TROUBLE = readFileSync(join(REPOSITORY, 'docs/troubleshooting.md'), 'utf8');
/** Compressing the runtime takes most of it; so does looking into it. Milliseconds. */
const BUILD = 400_000;
const STEP = 180_000;
/** What a machine with such servers and a user has seen before. */
const USUAL = `
  systemctl restart ssh.service nginx.service
  echo 192.0.2.2 server >>/etc/hosts
  useradd -m -s /bin/sh alice
  su alice -c '
    mkdir -m 700 ~/.ssh
    echo UpdateHostKeys no >~/.ssh/config
    ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519
    cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
    ssh -n -o StrictHostKeyChecking=accept-new server true'`;
/** What package management remembers, the backups of those who edit the user database, and logs. */
const BOOKKEEPING = [
  /^\/var\/lib\/(dpkg|apt|PackageKit)\//,
  /^\/var\/cache\/(ldconfig|man|apt)\b/,
  /^\/var\/log\//,
  /^\/etc\/(group|gshadow|passwd|shadow|subgid|subuid)-$/,
];

let lab: Lab;
let machine: Machine;
let client: Control;
let lintian: Promise<Outcome>;

/** The commands of a section of a guide that a user runs; root's, unless it is named. */
function commands(section: string, user = '', guide = GUIDE): string {
  const text = guide.split(/^## /m).find((part) => part.startsWith(`${section}\n`));
  const blocks = [...(text ?? '').matchAll(/^```(sh\S*)\n(.*?)^```$/gms)];
  const wanted = user === '' ? 'sh' : `sh-${user}`;
  const found = blocks.filter(([, language]) => language === wanted).map(([, , body]) => body);
  if (found.length === 0) throw new Error(`no ${wanted} commands in "${section}" of the guide`);
  return found.join('');
}

async function succeed(script: string): Promise<string> {
  const outcome = await machine.sh(script, STEP);
  expect(outcome, `${script}\n${outcome.stdout}\n${outcome.stderr}`).toMatchObject({ status: 0 });
  return outcome.stdout;
}

/** The ports of the server that a client finds open, which knows the secret or not. */
async function openPorts(secret?: string): Promise<number[]> {
  const knock = secret === undefined ? undefined : { control: client.socket, secret };
  const address = lab.server.addresses.ipv4;
  const ssh = await run(lab.client, ['ssh-keyscan', '-T', '5', '-t', 'ed25519', address], { knock });
  const http = await run(lab.client, ['curl', '-sS', '-m', '5', '-o', '/dev/null', `http://${address}/`], {
    knock,
  });
  return [...(ssh.stdout.includes('ssh-ed25519') ? [22] : []), ...(http.status === 0 ? [80] : [])];
}

const secretOf = () => `f:${machine.root}/etc/knockify/secret`;

async function expectHidden(): Promise<void> {
  expect(await openPorts()).toEqual([]);
  expect(await openPorts('a wrong secret')).toEqual([]);
  expect(await openPorts(secretOf())).toEqual([22, 80]);
}

beforeAll(async () => {
  lab = openLab();
  execFileSync(join(REPOSITORY, 'packaging/deb'), [lab.directory]);
  const [file = ''] = readdirSync(lab.directory).filter((name) => name.endsWith('.deb'));
  const check = ['lintian', '--fail-on', 'error', join(lab.directory, file)];
  // It leaves some of its temporary files behind.
  lintian = start(lab.client, check, { env: { TMPDIR: lab.directory } }).ended;
  machine = await bootMachine(lab, lab.server);
  client = await startControl(lab, lab.client);
  await succeed(USUAL);
  machine.mark();
  copyFileSync(join(lab.directory, file), join(machine.root, 'root', file));
}, BUILD);
afterAll(async () => {
  await machine?.close();
  lab?.close();
});

describe('the package', () => {
  test(
    'installs',
    async () => {
      const said = await succeed(commands('Install'));
      expect(said).toMatch(/as a client: yes\nas a server: yes\n$/);
    },
    STEP,
  );

  test('has units that systemd has nothing to say about', async () => {
    const units = '/lib/systemd/system/knockify.socket /lib/systemd/system/knockify.service';
    expect(await machine.sh(`systemd-analyze verify ${units}`)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    });
  });

  test('is as little exposed as the guide says', async () => {
    const report = await succeed('systemd-analyze security --no-pager knockify.service');
    const level = /Overall exposure level for knockify.service: ([\d.]+)/.exec(report)?.[1];
    expect(/an exposure level of (\S+)/.exec(GUIDE)?.[1]).toBe(level);
  });

  test('has a manual page for every command, without a warning', async () => {
    for (const page of [
      ...['run', 'check', 'control', 'status', 'events', 'doctor', 'secret', 'isn'].map(
        (name) => `knockify-${name}.1`,
      ),
    ].concat('knockify.1', 'knockrc.5', 'libknockify.so.7')) {
      const [name, section] = [page.replace(/\.\d$/, ''), page.at(-1)];
      const outcome = await machine.sh(`man --warnings -E UTF-8 ${section} ${name}`);
      expect(outcome, page).toMatchObject({ status: 0, stderr: '' });
    }
  });
});

test('the documents come along, and their links lead somewhere', async () => {
  const folder = join(machine.root, 'usr/share/doc/knockify');
  // What leads to the sources is for those who have them.
  const files = DOCUMENTS.flatMap((file) => linksOf(file).filter((path) => /^(README|docs\/)/.test(path)));
  expect(files).toContain('docs/bench/verdict.svg');
  expect([...DOCUMENTS, ...files].filter((path) => !existsSync(join(folder, path)))).toEqual([]);
});

describe('a hidden server', () => {
  beforeAll(async () => {
    expect(await openPorts()).toEqual([22, 80]);
    await succeed(commands('Hide sshd'));
  }, STEP);

  test('is closed to all but those with the secret', expectHidden, STEP);

  test(
    'lets users in as the guide says',
    async () => {
      await succeed(commands('Reach it'));
      await succeed('install -o alice -m 600 /etc/knockify/secret /home/alice/knock.key');
      const login = commands('Reach it', 'alice').trim();
      expect(await succeed(`su - alice -c '${login} -n id -un'`)).toBe('alice\n');
      const plain = await machine.sh(`su - alice -c 'ssh -n server id -un'`);
      expect(plain.stderr).toContain('Connection refused');
      await succeed('rm /home/alice/knock.key');
    },
    STEP,
  );

  test('has a control process in a sandbox', async () => {
    const status = await succeed('cat "/proc/$(systemctl show -P MainPID knockify.service)/status"');
    const capabilities = ((1n << 12n) | (1n << 39n)).toString(16).padStart(16, '0');
    for (const line of [
      `CapEff:\t${capabilities}`,
      `CapBnd:\t${capabilities}`,
      'NoNewPrivs:\t1',
      'Seccomp:\t2',
    ])
      expect(status).toContain(line);
    expect(status).not.toMatch(/^Uid:\t0/m);
  });

  test(
    'is reached by programs that bring no secret where the control process has one',
    async () => {
      const scan = 'LD_PRELOAD=libknockify.so ssh-keyscan -T 5 -t ed25519 192.0.2.2';
      expect((await machine.sh(scan)).stderr).toContain('there is no secret');
      const folder = 'knockify.service.d';
      await succeed(`
        install -D -m 644 -t /etc/systemd/system/${folder} /usr/share/doc/knockify/examples/${folder}/secret.conf
        systemctl daemon-reload; systemctl restart knockify.service`);
      expect(await succeed(scan)).toContain('ssh-ed25519');
      await succeed(
        `rm -r /etc/systemd/system/${folder}; systemctl daemon-reload; systemctl restart knockify.service`,
      );
    },
    STEP,
  );

  test(
    'has a secret for each client, as the guide says',
    async () => {
      const folder = '/etc/knockify/secrets.d';
      expect(await succeed(`stat -c '%U:%G %a' ${folder}`)).toBe('knockify:knockify 700\n');
      const listed = await succeed(commands('On the server', '', SECRETS));
      expect(listed).toMatch(/^NAME .*\nalice .* valid\nbob .* valid\n$/m);
      expect(await succeed(`stat -c '%U:%G %a' ${folder}/alice.secret`)).toBe('knockify:knockify 600\n');
      const copies = ['alice', 'bob'].map((name) => {
        const copy = join(lab.directory, name);
        copyFileSync(`${machine.root}${folder}/${name}.secret`, copy);
        return `f:${copy}`;
      });
      for (const copy of copies) expect(await openPorts(copy)).toEqual([22]);
      expect(await openPorts(secretOf())).toEqual([80]);
      await succeed(commands('Revoke, rotate', '', SECRETS));
      await expect.poll(() => openPorts(copies[1]), { timeout: 10_000 }).toEqual([]);
      for (const copy of [copies[0], `f:${machine.root}${folder}/alice.secret`])
        expect(await openPorts(copy)).toEqual([22]);
      expect(await succeed('KNOCK_SECRET=x knockify doctor')).toContain(
        `ok  named secrets: ${folder} has 1, and 1 old that are still valid\n`,
      );
      // Files from elsewhere, and what has them looked at, are in passing.
      const bring = /`(install -o knockify [^`]+)`/.exec(SECRETS)?.[1];
      const look = /`(systemctl kill --signal=HUP [^`]+)`/.exec(TROUBLE)?.[1];
      await succeed(`cp ${folder}/alice.secret alice.key; knockify secret revoke alice`);
      await expect.poll(() => openPorts(copies[0]), { timeout: 10_000 }).toEqual([]);
      copyFileSync(join(machine.root, 'root/alice.key'), join(lab.directory, 'alice'));
      await succeed(`${bring}; ${look}; rm alice.key`);
      await expect.poll(() => openPorts(copies[0]), { timeout: 10_000 }).toEqual([22]);
      await succeed(`
        knockify secret revoke alice
        install -m 644 -t /etc/systemd/system/ssh.service.d /usr/share/doc/knockify/examples/ssh.service.d/knockify.conf
        systemctl daemon-reload; systemctl restart ssh.service`);
      await expectHidden();
    },
    STEP,
  );
  test('is seen by root, and its figures where the example puts them', async () => {
    const folder = 'knockify.service.d';
    await succeed(`
      install -D -m 644 -t /etc/systemd/system/${folder} /usr/share/doc/knockify/examples/${folder}/metrics.conf
      systemctl daemon-reload; systemctl restart knockify.service`);
    const { listeners } = JSON.parse(await succeed('knockify status --json')) as Status;
    expect(listeners.map(({ port, program }) => `${program} ${port}`).sort()).toEqual(
      ['nginx 80', 'nginx 80', 'sshd 22', 'sshd 22'].sort(),
    );
    const figures = await succeed(
      'curl -sS --unix-socket /run/knockify-metrics/metrics.sock http://localhost/metrics',
    );
    expect(figures).toMatch(/^knockify_listeners 4$/m);
    await succeed(
      `rm -r /etc/systemd/system/${folder}; systemctl daemon-reload; systemctl restart knockify.service`,
    );
  });

  test.each([
    ['is killed', 'systemctl kill --signal=KILL knockify.service'],
    ['is restarted', 'systemctl restart knockify.service'],
    ['is upgraded', 'dpkg -i /root/knockify_*.deb'],
  ])(
    'stays as it is when the control process %s',
    async (_, script) => {
      const pid = () => succeed('systemctl show -P MainPID knockify.service');
      const before = await pid();
      await succeed(script);
      // Socket activation makes whoever needs it next wait for it.
      await expectHidden();
      expect(await pid()).not.toBe(before);
    },
    STEP,
  );

  test(
    'hides again after the service was stopped, which takes its filters along',
    async () => {
      expect(knockFilters(lab.server)).toEqual(['knock_ingress', 'knock_egress']);
      await succeed('systemctl stop knockify.socket knockify.service');
      expect(knockFilters(lab.server)).toEqual([]);
      await succeed('systemctl start knockify.socket');
      await expectHidden();
    },
    STEP,
  );

  test(
    'starts no more when the package is removed without its drop-ins, which the removal says',
    async () => {
      const removed = await machine.sh('dpkg -r knockify');
      expect(removed.stderr).toContain('\n/etc/systemd/system/ssh.service.d/knockify.conf\n');
      expect(await machine.sh('systemctl restart ssh.service')).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('Assertion failed'),
      });
      expect(await openPorts()).toEqual([]);
      await succeed('dpkg -i knockify_*.deb; systemctl restart ssh.service');
      await expectHidden();
    },
    STEP,
  );

  test(
    'is an ordinary one after removal, which leaves nothing',
    async () => {
      await succeed(commands('Remove'));
      expect(await openPorts()).toEqual([22, 80]);
      expect(knockFilters(lab.server)).toEqual([]);
      expect(await succeed('tc qdisc show')).not.toContain('clsact');
      expect(await succeed('ls -d /run/knock* /sys/fs/bpf/knock* 2>/dev/null || true')).toBe('');
      await succeed('rm knockify_*.deb');
      const left = machine.changes().filter((path) => !BOOKKEEPING.some((known) => known.test(path)));
      expect(left).toEqual([]);
    },
    STEP,
  );
});

test('lintian finds no error', async () => expect(await lintian).toMatchObject({ status: 0 }), STEP);
