import type { Direction } from '../../sys/trafficControl.ts';
import type { Inheritance } from './takeover.ts';

export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** Descriptors of an engine's two programs. */
export type Programs = Readonly<Record<Direction, number>>;

/**
 * The two programs of one engine on interfaces of its network namespace: ahead of whatever else looks at packets there, which
 * might accept one for good. They stay when this process is killed.
 */
export interface Filters {
  /** Whether netlink tells of filters that somebody took away. */
  readonly lossesAreTold: boolean;
  /** Hangs both on an interface, in place of a predecessor's. False where there is no such interface any more. */
  attach(index: number): boolean;
  /** The same where they do not hang. Another engine that took over may hang there instead. */
  restore(index: number): boolean;
  /** Takes both away, and those of whoever took their place. */
  detach(index: number): void;
  /** Takes back what was hung where no predecessor's filters were. Throws what goes wrong last. */
  undo(): void;
  /** From now on nothing is to be taken back. */
  keep(): void;
  /** Leaves them where they are. */
  close(): void;
}

/** An egress program that hangs on some interface. */
export interface Predecessor {
  readonly id: number;
  /** That of whoever takes its place. */
  readonly generation: number;
}

/** A way in which the kernel has programs look at all packets of an interface. */
export interface Way {
  /** Those whose place a newcomer may take, if it gets their maps. */
  replaceable(): readonly Predecessor[];
  /** Ids of the egress programs of all engines. Needs CAP_SYS_ADMIN. */
  all(): readonly number[];
  filters(programs: Programs, inheritance: Inheritance): Filters;
  /** Takes all engines' filters from an interface; or those of one generation, where generations are told apart. */
  clear(index: number, generation?: number): void;
}
