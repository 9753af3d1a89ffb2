import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inside } from '../test/lab/netns.ts';
import { type Knock, type Program, run, start, stop, untilListening } from '../test/lab/program.ts';
import { openStealthLab, SECRET, type StealthLab } from '../test/lab/stealthlab.ts';
import { padSecret } from '../ts/stealth/secret.ts';
import { integrityHash } from '../ts/stealth/token.ts';

const PROGRAMS = fileURLToPath(new URL('programs', import.meta.url));
const BPF_HEADERS = fileURLToPath(new URL('../native/bpf', import.meta.url));

/** How many times as many rounds are made of a rate, and how much shorter ones. */
const SHORTER = 20;

export interface Settings {
  /** How many rounds of each comparison. */
  readonly rounds: number;
  /** Of each measurement in a round. */
  readonly seconds: number;
}

/** What handshakes.c does. */
export interface Handshakes {
  /** May be empty. Absent: SYNs without their tokens. */
  readonly payload?: string;
  /** Bytes; 0: in auth mode. */
  readonly protectedLength?: number;
  readonly seconds?: number;
}

/** Two hosts with a control process each, and the programs that load them. */
export class Bench {
  readonly stealth: StealthLab;
  readonly settings: Settings;
  readonly #compiled = new Set<string>();

  constructor(stealth: StealthLab, settings: Settings) {
    this.stealth = stealth;
    this.settings = settings;
    const { client, server } = stealth;
    // Where the many clients of handshakes.c are.
    inside(server, ['ip', 'route', 'add', '198.18.0.0/16', 'via', client.addresses.ipv4]);
  }

  static async open(settings: Settings): Promise<Bench> {
    const stealth = await openStealthLab();
    try {
      return new Bench(stealth, settings);
    } catch (error) {
      stealth.close();
      throw error;
    }
  }

  /** A program of `bench/programs`, compiled. */
  program(name: string, ...libraries: string[]): string {
    const path = join(this.stealth.lab.directory, name);
    if (this.#compiled.has(name)) return path;
    const source = join(PROGRAMS, `${name}.c`);
    const options = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', `-I${BPF_HEADERS}`];
    execFileSync('cc', [...options, source, '-o', path, ...libraries]);
    this.#compiled.add(name);
    return path;
  }

  /** acceptor.c on a port of the server, guarded if `knock` is given. */
  async accepting(port: number, knock: Knock | undefined, ...options: string[]): Promise<Program> {
    const program = start(this.stealth.server, [this.program('acceptor'), String(port), ...options], {
      knock,
    });
    await untilListening(program, port);
    return program;
  }

  /**
   * The same time in many more rounds: in what lasts a second, a machine that others use changes by more than is measured, and the
   * median of many is known better than that of few.
   */
  get short(): Settings {
    const { rounds, seconds } = this.settings;
    return { rounds: rounds * SHORTER, seconds: seconds / SHORTER };
  }

  /** Answers per second that handshakes.c gets on a port. */
  async handshakes(port: number, options: Handshakes = {}): Promise<number> {
    const { payload, protectedLength = 0, seconds = this.settings.seconds } = options;
    const { client, server } = this.stealth;
    const secret = padSecret(Buffer.from(SECRET));
    const hash =
      protectedLength > 0
        ? integrityHash(secret, Buffer.from(payload ?? '').subarray(0, protectedLength))
        : 0;
    const token = payload === undefined ? [] : [Buffer.from(secret).toString('hex'), payload, String(hash)];
    const to = [client.device, server.mac, server.addresses.ipv4, String(port)];
    const command = [this.program('handshakes'), ...to, String(seconds), '256', ...token];
    const [answers = 0, , taken = 1] = (await this.output(client, command)).split(' ').map(Number);
    return answers / taken;
  }

  /** Runs a program to its end; returns what it printed, and throws if it failed. */
  async output(host: StealthLab['client'], command: readonly string[], knock?: Knock): Promise<string> {
    const outcome = await run(host, command, { knock, timeout: 300_000 });
    if (outcome.status !== 0 || outcome.stderr !== '')
      throw new Error(`${command.join(' ')}: ${outcome.status ?? outcome.signal}\n${outcome.stderr}`);
    return outcome.stdout;
  }

  async stop(...programs: readonly Program[]): Promise<void> {
    for (const program of programs) await stop(program);
  }

  close(): void {
    this.stealth.close();
  }
}

/** A number from /proc/PID/status, kB. */
export function memoryOf(pid: number, field: 'VmRSS' | 'RssAnon' | 'VmHWM'): number {
  return Number(
    new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1],
  );
}

/** Nanoseconds of CPU time that a process has had, with all its threads that have not ended. */
export function timeOf({ pid }: Program): number {
  const times = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]),
  );
  return times.reduce((sum, value) => sum + value, 0);
}
