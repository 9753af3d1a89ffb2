import { watch } from '../sys/channel.ts';

/** What ends an action before it is done. */
export interface Limit {
  /** Milliseconds; undefined for no limit. */
  readonly ms: number | undefined;
  /** The error when they are over. */
  readonly late: () => Error;
  readonly signal: AbortSignal | undefined;
}

/** Runs an action with a signal that aborts when the limit is reached, or `limit.signal` aborts. */
export async function limited<T>(limit: Limit, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { ms, late, signal } = limit;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const timer = ms === undefined ? undefined : setTimeout(() => controller.abort(late()), ms);
  const forward = () => controller.abort(signal?.reason);
  signal?.addEventListener('abort', forward);
  try {
    return await action(controller.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', forward);
  }
}

/** Rejects as soon as the signal aborts. For what can't be stopped; how that ends is then nobody's concern. */
export async function orAborted<T>(action: Promise<T>, signal: AbortSignal): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    action.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Waits without blocking until the descriptor is readable or writable, or has failed. */
export async function untilReady(
  fd: number,
  event: 'readable' | 'writable',
  signal: AbortSignal,
): Promise<void> {
  let unwatch = () => {};
  try {
    const ready = new Promise<void>((resolve) => {
      unwatch = watch(fd, resolve, event);
    });
    await orAborted(ready, signal);
  } finally {
    unwatch();
  }
}
