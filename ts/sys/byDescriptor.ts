/**
 * What there is for each of some descriptors. Not a Map or a Set: where something is put in and taken out for each
 * connect, those make a new table every few times, each table is reachable from the one before, and once V8 has moved
 * one to its old objects it moves all later ones there, with what they hold. Such garbage was 300 bytes a connect.
 */
export class ByDescriptor<T> {
  readonly #values: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(fd: number): T | undefined {
    return this.#values[fd];
  }

  set(fd: number, value: T): void {
    // Without holes, or V8 would take a table again.
    while (this.#values.length <= fd) this.#values.push(undefined);
    if (this.#values[fd] === undefined) this.#size++;
    this.#values[fd] = value;
  }

  /** Whether there was something. */
  delete(fd: number): boolean {
    if (this.#values[fd] === undefined) return false;
    this.#values[fd] = undefined;
    this.#size--;
    return true;
  }

  /** A copy: to be changed meanwhile. */
  values(): T[] {
    return this.#values.filter((value) => value !== undefined);
  }
}
