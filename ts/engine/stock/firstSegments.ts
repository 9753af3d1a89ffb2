import { SysError } from '../../sys/error.ts';
import { type BpfObject, loadBpf, readMapValue } from '../../sys/libbpf.ts';
import { getpeername, setInt, socketFilter } from '../../sys/libc.ts';
import { endpointOf, localAddress } from '../socket.ts';
import { MAPS, placeOfSyn, SYNS_BYTES, type Syn } from './layout.ts';

const EPERM = 1;

/**
 * How long the first segment of each connection was, by a socket filter on the listeners of integrity mode that
 * records it in the map of SYNs. Every SYN that carries the token starts a new record, so that a connection never
 * sees that of an earlier one with the same addresses and ports. Segments that GRO joined count as one.
 *
 * There is no record where the application has a filter of its own on the listener, which is left alone, or takes
 * ours away; for guards that belong to a predecessor whose maps could not be taken over; and of a SYN after which eight
 * others came that have the same place among 4096.
 */
export class FirstSegments {
  readonly #syns: number;
  #object: BpfObject | undefined;

  /** `syns`: descriptor of the map of SYNs. */
  constructor(syns: number) {
    this.#syns = syns;
  }

  /** Puts the filter on a listener, unless that has one; the sockets that it accepts inherit it. */
  watch(listener: number): void {
    if (socketFilter(listener) !== 'none') return;
    this.#object ??= loadBpf('first.bpf.o', { maps: new Map([[MAPS.syns, this.#syns]]) });
    setInt(listener, 'SO_ATTACH_BPF', this.#object.program('knock_first_segment'));
  }

  /** Takes the filter away, unless the application has locked it in its place (SO_LOCK_FILTER). */
  unwatch(fd: number): void {
    if (socketFilter(fd) !== 'bpf') return;
    try {
      setInt(fd, 'SO_DETACH_FILTER', 0);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === EPERM)) throw error;
    }
  }

  /**
   * What the guard and the filter know of an accepted connection whose SYN had this ISN; undefined without a record. Once
   * the first segment's length is there, the filter has done its work and goes: it would cost every later segment a look-up.
   */
  recordOf(fd: number, isn: number): Syn | undefined {
    const peer = getpeername(fd);
    if (peer === undefined) return undefined;
    const { key, find } = placeOfSyn(endpointOf(peer), localAddress(fd));
    const syns = readMapValue(this.#syns, key, SYNS_BYTES);
    const syn = syns && find(syns);
    if (syn?.isn !== isn) return undefined;
    if (syn.first !== 0) this.unwatch(fd);
    return syn;
  }

  /** Only our own hold on the program ends. */
  close(): void {
    this.#object?.close();
    this.#object = undefined;
  }
}
