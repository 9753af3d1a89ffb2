import { artefact } from './artefacts.ts';
import { checked } from './error.ts';
import { library } from './foreign.ts';

export * from './options.ts';
export * from './sockets.ts';

export const LOCK_SH = 1;
export const LOCK_EX = 2;

const native = library(artefact('knockify_native.node'), {
  knk_flock: ['int', ['int', 'int']],
  knk_links_open: ['int', []],
  knk_links_drain: ['int', ['int', 'pointer', 'int']],
  knk_interfaces: ['int', ['pointer', 'int']],
  knk_count_filters: ['int', ['uint32']],
});

const EAGAIN = 11;

/** False where somebody else's lock is in the way. */
export function flock(fd: number, operation: number): boolean {
  const result = native.knk_flock(fd, operation);
  return result === -EAGAIN ? false : checked('flock', result) === 0;
}

/** An interface that appeared or changed, or one that was lost or has lost a filter. */
export interface LinkEvent {
  readonly index: number;
  readonly lost: boolean;
}

const LINK_EVENT_BYTES = 8;
const LINK_EVENTS = 512;

export function openLinks(): number {
  return checked('socket(NETLINK_ROUTE)', native.knk_links_open());
}

/** The next events in order, empty when there are none. ENOBUFS (as a `SysError`) when some were lost. */
export function drainLinks(fd: number): LinkEvent[] {
  const events = Buffer.alloc(LINK_EVENT_BYTES * LINK_EVENTS);
  const count = checked('recv(NETLINK_ROUTE)', native.knk_links_drain(fd, events, LINK_EVENTS));
  return Array.from({ length: count }, (_, i) => ({
    index: events.readUInt32LE(i * LINK_EVENT_BYTES),
    lost: events.readUInt32LE(i * LINK_EVENT_BYTES + 4) === 1,
  }));
}

/** Indices of all network interfaces of this namespace. */
export function interfaces(): number[] {
  for (let capacity = 64; ; capacity *= 4) {
    const indices = Buffer.alloc(4 * capacity);
    const count = checked('if_nameindex', native.knk_interfaces(indices, capacity));
    if (count <= capacity) return Array.from({ length: count }, (_, i) => indices.readUInt32LE(4 * i));
  }
}

/** Number of filters on both sides of an interface's clsact queueing discipline. */
export function countFilters(index: number): number {
  return checked('RTM_GETTFILTER', native.knk_count_filters(index));
}
