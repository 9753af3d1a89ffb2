import { isMapped, isUnspecified, parseAddress, unmapped } from '../stealth/address.ts';
import type { Destination } from '../stealth/destination.ts';
import type { Refuse } from './error.ts';

/** One entry of KNOCK_TARGETS. What is left out matches everything. */
export interface Target {
  readonly net?: Net;
  readonly port?: number;
}

/** A network: the address in network byte order (4 or 16 bytes, host bits as written) and its prefix length. */
export interface Net {
  readonly address: Uint8Array;
  readonly prefix: number;
}

/** A destination or local address uses stealth when any of these matches. */
export type Targets = readonly Target[];

/** The default: every TCP socket. */
export const ALL_TARGETS: Targets = [{}];

/** The accepted spellings. The last takes a bare IPv6 address whole: there, ":22" at the end is part of it. */
const FORMS = [
  /^:(?<port>\d+)$/,
  /^\[(?<v6>[^\]/]+)(?:\/(?<prefix>\d+))?\](?::(?<port>\d+))?$/,
  /^\[(?<v6>[^\]/]+)\]\/(?<prefix>\d+)(?::(?<port>\d+))?$/,
  /^(?<any>[^[\]/]+)\/(?<prefix>\d+)(?::(?<port>\d+))?$/,
  /^(?<v4>[0-9.]+)(?::(?<port>\d+))?$/,
  /^(?<any>[^[\]/]+)$/,
];

/** Parses the comma-separated list. Blanks around an entry are allowed. */
export function parseTargets(value: Uint8Array, refuse: Refuse): Targets {
  const entries = Buffer.from(value).toString('latin1').split(',');
  return entries.map((entry, i) =>
    parseTarget(entry.trim(), (why) => refuse(`${entries.length > 1 ? `target ${i + 1}: ` : ''}${why}`)),
  );
}

function parseTarget(text: string, refuse: Refuse): Target {
  if (text === '') refuse('it is empty');
  const parts = FORMS.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined);
  if (parts === undefined) return refuse('it has none of the accepted forms');
  const address = parts.v6 ?? parts.v4 ?? parts.any;
  return {
    ...(address !== undefined && { net: parseNet(address, parts.v6 !== undefined, parts.prefix, refuse) }),
    ...(parts.port !== undefined && { port: inRange('port', parts.port, 1, 65535, refuse) }),
  };
}

function parseNet(text: string, bracketed: boolean, prefixText: string | undefined, refuse: Refuse): Net {
  const given = parseAddress(text);
  if (given === undefined) return refuse('it has no numeric address (host names are not looked up)');
  if (bracketed && given.length === 4) refuse('only an IPv6 address goes between [ and ]');
  const bits = given.length * 8;
  const prefix = prefixText === undefined ? bits : inRange('prefix length', prefixText, 0, bits, refuse);
  // Nothing ever connects to or is bound to 0.0.0.0/32: taken literally it would protect nothing.
  if (prefix === bits && isUnspecified(unmapped(given))) {
    refuse('that address is nobody\'s: for "any address" write 0.0.0.0/0, ::/0 or only :PORT');
  }
  if (!isMapped(given)) return { address: given, prefix };
  if (prefix < 96) refuse('an IPv4-mapped address counts as IPv4 and takes a prefix length of 96 to 128');
  return { address: unmapped(given), prefix: prefix - 96 };
}

function inRange(what: string, digits: string, low: number, high: number, refuse: Refuse): number {
  const value = Number(digits);
  if (value < low || value > high) refuse(`its ${what} is not between ${low} and ${high}`);
  return value;
}

/**
 * Whether a connect to this destination uses stealth. An IPv4-mapped address counts as IPv4. Connecting to
 * 0.0.0.0 or :: reaches this machine at an address that only the kernel knows, so it matches on the port alone.
 */
export function matchesDestination(targets: Targets, destination: Destination): boolean {
  return matches(targets, destination);
}

/**
 * Whether a listener on this local address uses stealth. A wildcard listener (0.0.0.0, or :: for IPv6 and
 * IPv4) also accepts at the address that a target names, so it fails closed: the port decides. Port 0, a
 * listener that was never bound, may become any port and matches every target in its reach.
 */
export function matchesListener(targets: Targets, local: Destination): boolean {
  return matches(targets, local);
}

function matches(targets: Targets, { address, port }: Destination): boolean {
  const own = unmapped(address);
  return targets.some(
    (target) =>
      (target.port === undefined || port === 0 || target.port === port) &&
      (target.net === undefined || reaches(own, target.net)),
  );
}

/** Whether an address lies in a network, or is a wildcard that covers addresses of it. */
function reaches(address: Uint8Array, net: Net): boolean {
  // :: is also every IPv4 address, unless IPV6_V6ONLY is set, which the address does not tell.
  if (isUnspecified(address) && (address.length === 16 || net.address.length === 4)) return true;
  return address.length === net.address.length && samePrefix(address, net.address, net.prefix);
}

function samePrefix(one: Uint8Array, other: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (one[i] !== other[i]) return false;
  const mask = (0xff00 >> (bits & 7)) & 0xff;
  return (((one[whole] ?? 0) ^ (other[whole] ?? 0)) & mask) === 0;
}

const prefixOf = ({ net }: Target) => net?.prefix ?? 0;

/** Whether a target says more of a destination that both match: by a longer prefix, else by a port. */
export function moreSpecific(one: Target, other: Target): boolean {
  if (prefixOf(one) !== prefixOf(other)) return prefixOf(one) > prefixOf(other);
  return one.port !== undefined && other.port === undefined;
}

/** Whether there is a destination that both match, and neither more specifically. */
export function targetsCollide(one: Target, other: Target): boolean {
  if (prefixOf(one) !== prefixOf(other) || one.port !== other.port) return false;
  if (one.net === undefined || other.net === undefined) return true;
  const [net, { address }] = [one.net, other.net];
  return net.address.length === address.length && samePrefix(address, net.address, net.prefix);
}
