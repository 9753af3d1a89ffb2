import { artefact } from './artefacts.ts';
import { checked, SysError } from './error.ts';
import { addressOf, library } from './foreign.ts';

const libbpf = library('libbpf.so.1', {
  ring_buffer__new: ['handle', ['int', 'handle', 'handle', 'handle']],
  ring_buffer__epoll_fd: ['int', ['handle']],
  ring_buffer__consume: ['int', ['handle']],
  ring_buffer__free: ['void', ['handle']],
});
const native = library(artefact('knockify_native.node'), { knk_collector: ['handle', []] });

/** struct knk_collection of native/collector.h. */
const COLLECTION = { size: 8, room: 0, filled: 4 } as const;
const ENOMEM = 12;

/** Reads a BPF ring buffer whose records are all of one size. */
export class RingBuffer {
  readonly #recordSize: number;
  /** libbpf keeps its address. */
  readonly #collection: Buffer;
  readonly #ring: bigint;
  /** Readable when there are records. */
  readonly descriptor: number;

  /** `most`: how many records `take` returns at a time; further ones of that moment are lost. */
  constructor(map: number, recordSize: number, most: number) {
    this.#recordSize = recordSize;
    this.#collection = Buffer.alloc(COLLECTION.size + most * recordSize);
    this.#collection.writeUInt32LE(most * recordSize, COLLECTION.room);
    this.#ring = libbpf.ring_buffer__new(map, native.knk_collector(), addressOf(this.#collection), 0n);
    // libbpf says why in errno, which the FFI does not keep.
    if (this.#ring === 0n) throw new SysError('ring_buffer__new', ENOMEM);
    this.descriptor = libbpf.ring_buffer__epoll_fd(this.#ring);
  }

  /** The records that are there, oldest first. Each is valid until the next call. */
  take(): Buffer[] {
    this.#collection.writeUInt32LE(0, COLLECTION.filled);
    checked('ring_buffer__consume', libbpf.ring_buffer__consume(this.#ring));
    const count = this.#collection.readUInt32LE(COLLECTION.filled) / this.#recordSize;
    const at = (index: number) => COLLECTION.size + index * this.#recordSize;
    return Array.from({ length: count }, (_, i) => this.#collection.subarray(at(i), at(i + 1)));
  }

  close(): void {
    libbpf.ring_buffer__free(this.#ring);
  }
}
