import { SysError } from '../sys/error.ts';
import { AF_INET, close, SOCK_STREAM, setBytes, socket } from '../sys/libc.ts';
import { type Engine, EngineError, type Memory } from './engine.ts';
import { KnockEngine } from './knock.ts';
import { StockEngine } from './stock/stockEngine.ts';

/** KNOCK_ENGINE. */
export type EngineChoice = 'auto' | 'stock' | 'knock';

/**
 * Whether the kernel has the Knock patch: it takes a secret for option 26. Only 26 tells: on an unpatched kernel
 * that is TCP_CC_INFO, which can't be set, while 25, which the oldest patch used, can be set there and protects
 * nothing.
 */
export function kernelHasKnock(): boolean {
  const fd = socket(AF_INET, SOCK_STREAM, 0);
  try {
    setBytes(fd, 'TCP_STEALTH', new Uint8Array(64).fill(1));
    return true;
  } catch (error) {
    if (error instanceof SysError) return false;
    throw error;
  } finally {
    close(fd);
  }
}

/** The engine asked for, or with `auto` the one that fits the kernel. Throws EngineError or SysError. */
export function createEngine(choice: EngineChoice, memory?: Memory): Engine {
  if (choice === 'stock') return new StockEngine(memory);
  const patched = kernelHasKnock();
  if (choice === 'knock' && !patched) {
    throw new EngineError(
      'KNOCK_ENGINE=knock, but this kernel has no TCP_STEALTH socket option; use KNOCK_ENGINE=auto or stock',
    );
  }
  return patched ? new KnockEngine() : new StockEngine(memory);
}
