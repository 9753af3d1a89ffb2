import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { Host } from '../lab/netns.ts';
import type { Outcome, Program, ProgramOptions } from '../lab/program.ts';
import type { Mode } from '../lab/stealthlab.ts';

/** Real programs in pairs: who is hidden, who knocks, and what shows that it worked. */

/** Where the two ends of a pair meet. */
export interface Place {
  readonly client: Host;
  readonly server: Host;
  readonly family: 'ipv4' | 'ipv6';
  /** The server's address. */
  readonly address: string;
  /** The same as a URL has it: IPv6 in brackets. */
  readonly host: string;
  readonly port: number;
  /** Of this one server, empty at first; goes with the lab. Everybody may read it. */
  readonly directory: string;
}

/** A command and what it needs. Whether it runs under the library is not its own affair. */
export interface Invocation extends Omit<ProgramOptions, 'knock'> {
  readonly command: readonly string[];
}

export interface Server {
  /** As the table in the docs shows it. */
  readonly name: string;
  /** Writes what the server reads into `place.directory`. Not under the library. */
  prepare?(place: Place): void | Promise<void>;
  /** Stays in the foreground. */
  invocation(place: Place): Invocation;
  /** Awaited once the port has a listener, where that does not yet mean that it can serve. */
  ready?(program: Program, place: Place): Promise<void>;
  /** Where another server is that it connects to, and that is hidden as well. */
  behind?(place: Place): Place;
  /** What ends it. */
  readonly signal?: NodeJS.Signals;
}

export interface Pair {
  /** The client, as the table in the docs shows it. */
  readonly name: string;
  /** Pairs that name the same object share the running server. */
  readonly server: Server;
  client(place: Place): Invocation;
  /** Expects that real data arrived, unharmed, wherever it was meant to arrive. */
  prove(outcome: Outcome, place: Place, server: Program): void | Promise<void>;
  /** How many connections the client makes; 1 unless told. */
  readonly connections?: number;
  /** Expects that the client reports the refusal; by default that it fails and says something with "refused". */
  refused?(outcome: Outcome, mode: Mode): void;
  /** How many of the first bytes are protected. */
  readonly integrity: number;
  /** What a reader should know of the protected bytes. */
  readonly remark?: string;
}

/** More than a segment and more than a socket buffer: 300 kB of lines that are all different. */
export const TEXT = Array.from(
  { length: 10_000 },
  (_, i) => `${String(i).padStart(8, '0')} seen only by them\n`,
).join('');

const digest = (data: string | Buffer) => ({
  length: data.length,
  sha256: createHash('sha256').update(data).digest('hex'),
});

/** Expects `data` to be `wanted`, `times` over; a failure does not print all of it. */
export function expectData(data: string | Buffer, wanted = TEXT, times = 1): void {
  expect(digest(data)).toEqual(digest(wanted.repeat(times)));
}

/** The usual proof: the client ended well and wrote `wanted`, `times` over, to its standard output. */
export function wrote(wanted = TEXT, times = 1): Pair['prove'] {
  return ({ status, stdout, stderr }) => {
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expectData(stdout, wanted, times);
  };
}

/** A client that fails and says so on either output. */
export function saying(pattern: RegExp): (outcome: Outcome) => void {
  return ({ status, stdout, stderr }) => {
    expect(status).not.toBe(0);
    expect(`${stdout}${stderr}`).toMatch(pattern);
  };
}
