import { EngineError } from '../engine/engine.ts';
import { removeLeftovers } from '../engine/stock/leftovers.ts';

/**
 * Takes away what control processes that have ended left on the interfaces of this network namespace. Returns what to say.
 * Throws EngineError where that would let a SYN out without its token, or another control process needs it.
 */
export function removeFilters(): string {
  const found = removeLeftovers();
  switch (found.outcome) {
    case 'none':
      return 'No control process has left filters here.';
    case 'removed':
      return 'The filters are removed.';
    case 'in use':
      throw new EngineError('a control process works in this network namespace: stop it first');
    case 'needed':
      throw new EngineError(
        `${found.sockets} connects are delayed or on their way, and would go on without their tokens: end their programs first`,
      );
  }
}
