import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLine } from '../../ts/cli/commands.ts';
import type { Host } from '../lab/netns.ts';
import { type Outcome, type Program, stop, untilListening, untilSays } from '../lab/program.ts';
import { patient } from '../lab/slowness.ts';
import { makeKeys, writeSshdConfig } from '../lab/sshd.ts';
import { type Block, blocksOf, DOCUMENTS, inlineCodeOf, read } from './blocks.ts';
import { type House, openHouse } from './house.ts';

/** Every command in README.md and docs/ does what it says: run here, or by another test that has it. */

const SHELLS = ['sh', 'sh-alice', 'console'];
/** Blocks that hold no commands. */
const OTHERS = ['ini', 'ts', 'text', 'mermaid', 'diff'];

/** Blocks that are run elsewhere, by what they begin with: where, and what must be there. */
const ELSEWHERE: readonly {
  readonly begins: string;
  readonly where: Readonly<Record<string, readonly string[]>>;
}[] = [
  {
    begins: 'npm run demo',
    where: {
      'test/examples/demo.test.ts': ['examples/demo/main.ts'],
      '.ci/run': ['npm test', 'npm run test:programs'],
      'package.json': [
        '"demo": "bash .ci/setup && exec node --import tsx examples/demo/main.ts"',
        '"test:package": "bash .ci/setup package && vitest run',
      ],
    },
  },
  {
    begins: 'npm ci && npm run build && npm link',
    where: {
      '.ci/setup': ['npm ci', 'npm run --silent build'],
      'test/package/npm.test.ts': ["execFileSync('npm', ['link']"],
    },
  },
  {
    begins: 'bash .ci/setup package',
    where: { 'test/package/deb.test.ts': ["'packaging/deb'"], 'package.json': ['&& bash packaging/deb"'] },
  },
  {
    begins: 'install -d /etc/systemd/system/ssh.service.d',
    where: { 'test/package/deb.test.ts': ["commands('On the server', '', SECRETS)"] },
  },
];

/** docs/install.md is run section by section, on a machine with systemd. */
const GUIDE = 'docs/install.md';
const isGuide = ({ file, section, language }: Block) =>
  file === GUIDE && read('test/package/deb.test.ts').includes(guideCall(section, language));

function guideCall(section: string, language: string): string {
  const user = language.split('-')[1];
  return user === undefined ? `commands('${section}')` : `commands('${section}', '${user}')`;
}

const commandBlocks = DOCUMENTS.flatMap(blocksOf).filter(({ language }) => SHELLS.includes(language));
const own = commandBlocks.filter(
  (block) => !isGuide(block) && !ELSEWHERE.some(({ begins }) => block.text.startsWith(begins)),
);

describe('every block', () => {
  test('has a language, so that commands are known', () => {
    const unknown = DOCUMENTS.flatMap(blocksOf).filter(
      ({ language }) => ![...SHELLS, ...OTHERS].includes(language),
    );
    expect(unknown).toEqual([]);
  });

  test.each(ELSEWHERE)('that begins with "$begins" is run elsewhere', ({ begins, where }) => {
    expect(commandBlocks.some(({ text }) => text.startsWith(begins))).toBe(true);
    for (const [file, texts] of Object.entries(where))
      for (const text of texts) expect(read(file)).toContain(text);
  });

  test('of the guide is run by the package test, but for what is run here', () => {
    const sections = commandBlocks.filter(isGuide).map(({ section }) => section);
    expect(new Set(sections)).toEqual(new Set(['Install', 'Hide sshd', 'Reach it', 'Remove']));
  });
});

/** What the tests below run. */
const taken: string[] = [];

/** The block of a document that has this in it. */
function block(file: string, part: string): string {
  const found = own.find(({ file: name, text }) => name === file && text.includes(part));
  if (found === undefined) throw new Error(`${file} has no commands with "${part}"`);
  taken.push(found.text);
  return found.text;
}

/** The commands of one host in a console. */
function typedAt(host: Host, text: string): string[] {
  const lines = text.split('\n').map((line) => /^(\w+)[#$] (.*)$/.exec(line));
  expect(lines).not.toContain(null);
  return lines.filter((line) => line?.[1] === host.name).map((line) => line?.[2] ?? '');
}

describe('the commands', () => {
  const README = 'README.md';
  const TROUBLE = 'docs/troubleshooting.md';
  const SECRETS = 'docs/secrets.md';
  const MONITORING = 'docs/monitoring.md';
  const READY = 'control: ready on /run/knockify/control.sock';
  let house: House;
  let server: Host;
  let client: Host;
  /** The server's. */
  let control: Program;

  beforeAll(async () => {
    house = await openHouse();
    ({ server, client } = house.lab);
    const { directory } = house.lab;
    makeKeys(directory);
    const config = writeSshdConfig(directory, { address: '0.0.0.0', port: 22 });
    const known = `UserKnownHostsFile ${directory}/known\nStrictHostKeyChecking accept-new\n`;
    const options = join(directory, 'ssh_config');
    writeFileSync(options, `IdentityFile ${directory}/user_key\n${known}`);
    await succeed(server, `cp ${config} /etc/ssh/sshd_config`);
    await succeed(client, `cp ${options} /etc/ssh/ssh_config`);
  });
  afterAll(() => house?.close());

  async function succeed(host: Host, script: string, input?: string): Promise<Outcome> {
    const outcome = await house.run(host, script, input);
    expect(outcome, `${script}\n${outcome.stdout}${outcome.stderr}`).toMatchObject({ status: 0 });
    return outcome;
  }

  const group = block(GUIDE, 'knockify control --group');
  test('a control process for a group', async () => {
    const control = await house.start(server, `exec ${group}`, READY);
    expect((await succeed(server, 'stat -c %G /run/knockify/control.sock')).stdout).toBe('knockify\n');
    expect(await stop(control)).toMatchObject({ status: 0 });
  });

  const serving = block(MONITORING, '--metrics');
  const scraping = block(MONITORING, 'curl --unix-socket');
  test('figures for Prometheus', async () => {
    const [directory = '', control = ''] = serving.split('\n');
    await succeed(server, directory);
    const program = await house.start(server, `exec ${control}`, READY);
    expect((await succeed(server, scraping)).stdout).toMatch(/^knockify_listeners 0$/m);
    expect(await stop(program)).toMatchObject({ status: 0 });
  });

  const steps = block(README, 'knockify secret');
  test('first steps', async () => {
    control = await house.start(server, `${steps}\nwait`, READY);
    expect(control.stdout()).toMatch(/^fingerprint /);
    expect(control.stdout()).toContain('as a client: yes\nas a server: yes\n');
    const { stdout } = await succeed(server, 'base64 -w 0 /etc/knock.key');
    await succeed(client, `umask 077; base64 -d >~/knock.key`, stdout);
    await house.start(client, 'knockify control & wait', READY);
  });

  const look = block(README, '/usr/sbin/sshd -D');
  test('the first look', async () => {
    const [command = ''] = typedAt(server, look);
    await untilListening(await house.start(server, `exec env ${command}`), 22);
    const [login = ''] = typedAt(client, look);
    expect((await succeed(client, login, 'echo $((6 * 7))\n')).stdout).toBe('42\n');
    const plain = await house.run(client, 'ssh server true');
    expect(plain.stderr).toContain('Connection refused');
  });

  const launched = block(README, 'knockify run');
  test('the launcher', async () => {
    const [serve = ''] = typedAt(server, launched);
    await untilListening(await house.start(server, `exec ${serve}`), 80);
    const [fetch = '', check = ''] = typedAt(client, launched);
    expect((await succeed(client, fetch)).stdout).toContain('<h1>Directory listing for /</h1>');
    expect((await succeed(client, check)).stdout).toContain('Hidden, and your secret opens it.');
    expect(await house.run(client, 'curl http://server/')).toMatchObject({ status: 7 });
  });

  test('what knockify(1) begins with', async () => {
    const [example] = blocksOf('docs/man/knockify.1.md');
    const [make = '', serve = '', fetch = ''] = example?.text.split('\n') ?? [];
    await succeed(server, make);
    await untilListening(await house.start(server, `exec ${serve}`), 8000);
    const { stdout } = await succeed(server, 'base64 -w 0 /etc/knockify.secret');
    await succeed(client, 'umask 077; base64 -d >~/knockify.secret', stdout);
    expect((await succeed(client, fetch)).stdout).toContain('<h1>Directory listing for /</h1>');
    expect(example?.text.split('\n').length).toBe(3);
  });

  const seeing = block(MONITORING, 'knockify events');
  test('seeing what happens', async () => {
    const [once = '', watch = '', follow = ''] = seeing.split('\n');
    expect((await succeed(server, once)).stdout).toMatch(/^0\.0\.0\.0:22 +sshd\[\d+\] +root +auth /m);
    const live = await house.start(server, `exec ${watch}`, 'sshd');
    const events = await house.start(server, `exec ${follow}`);
    const deadline = Date.now() + patient(20_000);
    while (Date.now() < deadline && !events.stdout().includes('rejected 192.0.2.1:'))
      await house.run(client, 'exec 3<>/dev/tcp/server/22');
    expect(events.stdout()).toMatch(/ rejected 192\.0\.2\.1:\d+ -> 192\.0\.2\.2:22 sshd\[\d+\]$/m);
    expect(await stop(events, 'SIGINT')).toMatchObject({ status: 0 });
    await stop(live, 'SIGINT');
  });

  const add = block(SECRETS, 'secret add');
  const change = block(SECRETS, 'secret revoke');
  const FETCH = 'LD_PRELOAD=libknockify.so curl -sS http://server:8080/';
  const fetchBy = (key: string) => house.run(client, `KNOCK_SECRET=f:$HOME/${key} ${FETCH}`);

  /** Brings the client a copy of a secret. */
  async function handOut(name: string, key: string): Promise<void> {
    const { stdout } = await succeed(server, `base64 -w 0 /etc/knockify/secrets.d/${name}.secret`);
    await succeed(client, `umask 077; base64 -d >~/${key}`, stdout);
  }

  test('named secrets', async () => {
    expect((await succeed(server, add)).stdout).toMatch(/^alice .* valid\nbob .* valid\n$/m);
    await untilSays(control, 'secret bob: accepted from now on');
    const serve = 'LD_PRELOAD=libknockify.so exec python3 -m http.server 8080';
    await untilListening(await house.start(server, serve), 8080);
    for (const name of ['alice', 'bob']) {
      await handOut(name, name);
      expect(await fetchBy(name)).toMatchObject({ status: 0 });
    }
    expect(await fetchBy('knock.key')).toMatchObject({ status: 7 });
    await succeed(server, change);
    await untilSays(control, 'secret bob: revoked');
    await untilSays(control, 'secret alice: replaced; the old one is accepted until');
    await handOut('alice', 'new');
    expect(await fetchBy('bob')).toMatchObject({ status: 7 });
    for (const key of ['alice', 'new']) expect(await fetchBy(key)).toMatchObject({ status: 0 });
  });

  test('a client with sections', async () => {
    const [rc] = blocksOf(SECRETS).filter(({ language }) => language === 'ini');
    const text = rc?.text.replaceAll('/home/alice', '$HOME/keys');
    await succeed(
      client,
      `umask 077; mkdir ~/keys; cp ~/new ~/keys/knock.key; cp ~/knock.key ~/keys/office.key; cp ~/bob ~/keys/web.key
      cat >~/.knockrc <<END\n${text}\nEND`,
    );
    expect((await succeed(client, FETCH)).stdout).toContain('<h1>Directory listing for /</h1>');
    await succeed(client, 'LD_PRELOAD=libknockify.so ssh server true');
    expect((await succeed(client, 'knockify doctor')).stdout).toContain(
      'keys, and some for 2 sets of targets',
    );
    await succeed(client, 'rm -r ~/.knockrc ~/keys');
  });

  const doctor = block(TROUBLE, 'knockify doctor');
  const check = block(TROUBLE, 'knockify check server 22');
  const otherEnd = block(TROUBLE, 'knockify check --listen');
  const path = block(TROUBLE, '--path');
  test('what finds most of the trouble', async () => {
    const set = (file: string) => `umask 077; echo "KNOCK_SECRET=f:${file}" >~/.knockrc`;
    await succeed(server, set('/etc/knock.key'));
    await succeed(client, set('$HOME/knock.key'));
    for (const host of [server, client])
      expect((await succeed(host, doctor)).stdout).toContain('as a client: yes\nas a server: yes\n');
    expect((await succeed(client, check)).stdout).toContain('Hidden, and your secret opens it.');
    const listener = await house.start(server, `exec ${otherEnd}`, 'open to everybody');
    expect((await succeed(client, path)).stdout).toContain(
      'Nothing on the way changes what the token covers.',
    );
    expect(await stop(listener, 'SIGINT')).toMatchObject({ status: 0 });
  });

  const inContainer = block(TROUBLE, 'nsenter');
  test('a control process for a container', async () => {
    const { directory } = house.lab;
    const variables = `PID=${house.pid(client)} DIRECTORY=${directory}`;
    const control = await house.start(server, `${variables}; exec ${inContainer}`, 'control: ready on');
    const { stdout } = await succeed(client, `KNOCK_CONTROL=${directory}/control.sock knockify doctor`);
    expect(stdout).toContain(`serves ${directory}/control.sock`);
    expect(stdout).toContain('as a client: yes');
    await stop(control);
  });

  test('are all that the documents have', () => {
    expect([...taken].sort()).toEqual(own.map(({ text }) => text).sort());
  });
});

describe('what is named in passing', () => {
  const code = DOCUMENTS.flatMap((file) => inlineCodeOf(file).map((text) => ({ file, text })));

  test('is a command with options that it has', () => {
    const named = code.filter(({ text }) => /^knockify [a-z]+( |$)/.test(text));
    expect(named.length).toBeGreaterThan(10);
    const wrong = named.filter(({ text }) => !isCommand(text.split(' -- ')[0]?.split(' ').slice(1) ?? []));
    expect(wrong).toEqual([]);
  });

  test('is a script of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = code.flatMap(({ text }) => /^npm run ([\w:]+)/.exec(text)?.[1] ?? []);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

function isCommand([name = '', ...words]: readonly string[]): boolean {
  const group = commandLine().commands.find((one) => one.name() === name);
  const command = group?.commands.find((one) => one.name() === words[0]) ?? group;
  const known = command?.options.map(({ long }) => long);
  return words.every((word) => !word.startsWith('--') || known?.includes(word)) && command !== undefined;
}
