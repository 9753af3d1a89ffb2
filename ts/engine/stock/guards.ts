import { createHash } from 'node:crypto';
import { type BpfObject, loadBpf } from '../../sys/libbpf.ts';
import { dropAll, dropsAll, getUint, setInt, socketFilter } from '../../sys/libc.ts';
import type { Protection } from '../engine.ts';
import type { FirstSegments } from './firstSegments.ts';
import { encodeGuardConfig } from './layout.ts';

/** How long a listener waits for the first segment before accept() sees the connection anyway, in seconds. */
const FIRST_SEGMENT_SECONDS = 30;

/** Prepared programs that are kept for the next listener with the same secret. */
const MOST_LOADED = 32;

interface Loaded {
  readonly object: BpfObject;
  /** Which of all loads it was last wanted for. */
  wanted: number;
}

/** One loaded program for each secret and mode; the listeners that use it keep it alive. */
export class Guards {
  readonly #loaded = new Map<string, Loaded>();
  #loads = 0;
  readonly #maps: ReadonlyMap<string, number>;
  readonly #firstSegments: FirstSegments;

  /** `maps`: descriptors of the maps that the guards share, by name. */
  constructor(maps: ReadonlyMap<string, number>, firstSegments: FirstSegments) {
    this.#maps = maps;
    this.#firstSegments = firstSegments;
  }

  /** Loads what `attach` needs. */
  prepare(protection: Protection): void {
    this.#load(protection);
  }

  /** Attaches the guard. The socket must not listen yet: after that the kernel wouldn't take it. */
  attach(fd: number, protection: Protection): void {
    const integrity = protection.protectedLength > 0;
    const program = this.#load(protection);
    // A socket that brings a reuseport program may not listen beside others (reuseport_cb, in the kernel's bind conflict
    // check): one of the application's own group is guarded by `replace` once it listens, and deaf until then.
    const inGroup = getUint(fd, 'SO_REUSEPORT') !== 0 && (socketFilter(fd) === 'none' || dropsAll(fd));
    // Set after the application's bind(), so that it doesn't change what bind() allows.
    setInt(fd, 'SO_REUSEPORT', 1);
    if (inGroup) dropAll(fd);
    else setInt(fd, 'SO_ATTACH_REUSEPORT_EBPF', program);
    if (!integrity) return;
    setInt(fd, 'TCP_SAVE_SYN', 1);
    setInt(fd, 'TCP_DEFER_ACCEPT', FIRST_SEGMENT_SECONDS);
    this.#firstSegments.watch(fd);
  }

  /** Puts the guard in place of whatever program the listener's group has; `previous` is how it was guarded so far. */
  replace(fd: number, protection: Protection, previous: Protection): void {
    const integrity = protection.protectedLength > 0;
    setInt(fd, 'SO_ATTACH_REUSEPORT_EBPF', this.#load(protection));
    if (dropsAll(fd)) {
      setInt(fd, 'SO_DETACH_FILTER', 0);
      if (integrity) this.#firstSegments.watch(fd);
    }
    if (integrity === previous.protectedLength > 0) return;
    setInt(fd, 'TCP_SAVE_SYN', integrity ? 1 : 0);
    setInt(fd, 'TCP_DEFER_ACCEPT', integrity ? FIRST_SEGMENT_SECONDS : 0);
    if (integrity) this.#firstSegments.watch(fd);
    else this.#firstSegments.unwatch(fd);
  }

  /** Only our own hold on the programs ends. */
  close(): void {
    for (const { object } of this.#loaded.values()) object.close();
    this.#loaded.clear();
  }

  /** Any client may bring any secret: the listeners keep the programs that they use alive, not we. */
  #dropOldest(): void {
    if (this.#loaded.size <= MOST_LOADED) return;
    const [oldest] = [...this.#loaded].sort(([, one], [, other]) => one.wanted - other.wanted);
    if (oldest === undefined) return;
    const [key, { object }] = oldest;
    object.close();
    this.#loaded.delete(key);
  }

  #load({ secret, named, protectedLength, allowReplay = false }: Protection): number {
    const integrity = protectedLength > 0;
    const rodata = encodeGuardConfig(secret, { integrity, refuseReplays: !allowReplay, named });
    const key = createHash('sha256').update(rodata).digest('hex');
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = { object: loadBpf('guard.bpf.o', { rodata, maps: this.#maps }), wanted: 0 };
      this.#loaded.set(key, loaded);
    }
    loaded.wanted = ++this.#loads;
    this.#dropOldest();
    return loaded.object.program('knock_guard_listener');
  }
}
