import { chmodSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { capturing } from '../lab/capture.ts';
import type { Packet } from '../lab/packets.ts';
import {
  type Knock,
  listeningPorts,
  type Outcome,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  until,
  untilListening,
  untilSays,
} from '../lab/program.ts';
import { type Mode, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import type { Invocation, Pair, Place, Server } from './pair.ts';
import type { Reload, Running } from './reload.ts';

/** Runs the ends of a pair, with and without the library, and tells what came of it and what was on the wire. */

export interface Attempt {
  readonly outcome: Outcome;
  /** What the client sent and got while it ran. */
  readonly packets: readonly Packet[];
}

export interface Reloaded extends Running {
  readonly served: Outcome;
  readonly refused: Outcome;
  /** How often what became of a plain connect. */
  readonly knocks: Readonly<Record<string, number>>;
}

/** What puts a client under the library, or leaves it out. */
export const CLIENTS = {
  'without the library': () => undefined,
  'with another secret': (knock) => ({ ...knock, secret: `not ${SECRET}` }),
  'without a secret': (knock) => ({ ...knock, secret: undefined }),
  // Last: it shows that the others met a server that was there, and a server may serve once only.
  'with the secret': (knock) => knock,
} satisfies Record<string, (knock: Knock) => Knock | undefined>;

export type ClientKind = keyof typeof CLIENTS;

/** Enough for a slow start on a busy machine, and less than a test may take. */
const TIMEOUT = 20_000;
const FIRST_PORT = 9000;
const HAMMER = join(REPOSITORY, 'test/programs/hammer.py');

export class Trials {
  readonly #stealth: StealthLab;
  /** By protected length, 0 in auth mode. */
  readonly #running = new Map<Server, Map<number, Promise<Running>>>();
  readonly #programs: { readonly program: Program; readonly server: Server }[] = [];
  #ports = FIRST_PORT;

  constructor(stealth: StealthLab) {
    this.#stealth = stealth;
  }

  /** Every kind of client in turn against the hidden server. */
  async attempts(pair: Pair, mode: Mode): Promise<(kind: ClientKind) => Attempt> {
    const { place } = await this.#serving(pair, mode);
    const kinds = Object.keys(CLIENTS) as ClientKind[];
    const outcomes: Outcome[] = [];
    const begun: number[] = [];
    const { packets } = await this.#capturing(place, async () => {
      for (const kind of kinds) {
        // The clock that cuts the capture in pieces ticks in milliseconds.
        await sleep(2);
        begun.push(Date.now() / 1000);
        outcomes.push(await this.#client(pair, place, CLIENTS[kind](this.#knock('client', pair, mode))));
      }
    });
    return (kind) => {
      const i = kinds.indexOf(kind);
      const outcome = outcomes[i];
      const from = begun[i] ?? 0;
      const end = begun[i + 1] ?? Number.POSITIVE_INFINITY;
      if (outcome === undefined) throw new Error(`no client ran ${kind}`);
      return { outcome, packets: packets.filter(({ time }) => time >= from && time < end) };
    };
  }

  /** The hidden server that `attempts` uses. */
  async server(pair: Pair, mode: Mode): Promise<Running> {
    return this.#serving(pair, mode);
  }

  /** A client without the library at the server that a hidden server connects to. */
  async behind(pair: Pair, mode: Mode): Promise<Outcome> {
    const { place } = await this.#serving(pair, mode);
    return this.#client(pair, pair.server.behind?.(place) ?? place, undefined);
  }

  /** A client under the library and a server that is not. */
  async notHidden(pair: Pair): Promise<{ outcome: Outcome } & Running> {
    const place = await this.#place(pair.server, 'auth');
    const program = await this.#started(pair.server, place, undefined);
    const outcome = await this.#client(pair, place, this.#knock('client', pair, 'auth'));
    return { outcome, program, place };
  }

  /** Reloads a server, with somebody knocking all the time who has no secret (in authentication mode: with integrity
   *  one SYN in 65,536 is answered); then come a client, and one without the library. */
  async reloaded({ pair, act }: Reload, mode: Mode): Promise<Reloaded> {
    const running = await this.#serving(pair, mode);
    const { place } = running;
    const hammer = mode === 'auth' ? await this.#hammer(place) : undefined;
    await act(running, (invocation) => this.#start(invocation, this.#knock('server', pair, mode)));
    const served = await this.#client(pair, place, this.#knock('client', pair, mode));
    const refused = await this.#client(pair, place, undefined);
    const knocks = hammer === undefined ? {} : JSON.parse((await stop(hammer)).stdout.split('\n')[1] ?? '');
    return { ...running, served, refused, knocks };
  }

  async #hammer({ client, address, port }: Place): Promise<Program> {
    const program = start(client, [PYTHON, HAMMER, address, String(port)]);
    await untilSays(program, 'hammering');
    return program;
  }

  /** The server under the library, which has no secret: what it says, and whether it ever listened. */
  async withoutSecret(server: Server): Promise<{ outcome: Outcome; listened: boolean }> {
    const place = await this.#place(server, 'auth');
    const knock = { ...this.#stealth.knock(this.#stealth.server), secret: undefined };
    const program = this.#start(server.invocation(place), knock);
    let listened = false;
    await until(
      `the end of ${server.name}, or a complaint`,
      () => {
        listened ||= listeningPorts(this.#stealth.controls.server.program.pid).includes(place.port);
        return !program.isRunning() || program.stderr().includes('there is no secret');
      },
      TIMEOUT,
    );
    listened ||= listeningPorts(this.#stealth.controls.server.program.pid).includes(place.port);
    return { outcome: await stop(program, server.signal), listened };
  }

  /** Ends all servers. */
  async close(): Promise<void> {
    await Promise.all(this.#programs.map(({ program, server }) => stop(program, server.signal)));
  }

  #capturing<T>(place: Place, work: () => Promise<T>): Promise<{ result: T; packets: Packet[] }> {
    return capturing(this.#stealth.lab, work, { filter: `tcp port ${place.port}` });
  }

  #knock(end: 'client' | 'server', pair: Pair, mode: Mode): Knock {
    const knock = this.#stealth.knock(this.#stealth[end], mode);
    if (mode === 'auth') return knock;
    return { ...knock, intlen: pair.integrity };
  }

  #client({ client }: Pair, place: Place, knock: Knock | undefined): Promise<Outcome> {
    const { command, ...options } = client(place);
    return run(this.#stealth.client, command, { ...options, knock, timeout: TIMEOUT });
  }

  #start({ command, ...options }: Invocation, knock: Knock | undefined): Program {
    return start(this.#stealth.server, command, { ...options, knock });
  }

  #serving(pair: Pair, mode: Mode): Promise<Running> {
    const { intlen = 0 } = this.#knock('server', pair, mode);
    const instances = this.#running.get(pair.server) ?? new Map<number, Promise<Running>>();
    this.#running.set(pair.server, instances);
    const running = instances.get(intlen) ?? this.#serve(pair, mode);
    instances.set(intlen, running);
    return running;
  }

  async #serve(pair: Pair, mode: Mode): Promise<Running> {
    const place = await this.#place(pair.server, mode);
    return { program: await this.#started(pair.server, place, this.#knock('server', pair, mode)), place };
  }

  async #started(server: Server, place: Place, knock: Knock | undefined): Promise<Program> {
    const program = this.#start(server.invocation(place), knock);
    this.#programs.push({ program, server });
    await untilListening(program, place.port, TIMEOUT);
    await server.ready?.(program, place);
    return program;
  }

  async #place(server: Server, mode: Mode): Promise<Place> {
    const port = this.#ports++;
    const directory = mkdtempSync(join(this.#stealth.lab.directory, `${port}-`));
    for (const path of [this.#stealth.lab.directory, directory]) chmodSync(path, 0o755);
    const family = mode === 'auth' ? 'ipv4' : 'ipv6';
    const address = this.#stealth.server.addresses[family];
    const host = family === 'ipv6' ? `[${address}]` : address;
    const { client, server: end } = this.#stealth;
    const place = { client, server: end, family, address, host, port, directory } as const;
    await server.prepare?.(place);
    return place;
  }
}
