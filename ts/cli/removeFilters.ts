import { EngineError } from '../engine/engine.ts';
import { predecessor } from '../engine/stock/links.ts';
import { StockEngine } from '../engine/stock/stockEngine.ts';

/**
 * Takes away what control processes that have ended left on the interfaces of this network namespace. Returns what to say.
 * Throws EngineError where that would let a SYN out without its token, or another control process needs it.
 */
export function removeFilters(): string {
  if (predecessor(0) === undefined) return 'No control process has left filters here.';
  const engine = new StockEngine();
  const counts = [...engine.records.connects().values()];
  const waiting = counts.reduce((sum, { delayed, connecting }) => sum + delayed + connecting, 0);
  if (waiting > 0) {
    engine.close();
    throw new EngineError(
      `${waiting} connects are delayed or on their way, and would go on without their tokens: end their programs first`,
    );
  }
  if (!engine.close({ purge: true, hooks: true }))
    throw new EngineError('a control process works in this network namespace: stop it first');
  return 'The filters are removed.';
}
