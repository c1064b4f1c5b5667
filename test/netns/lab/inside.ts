/** Entering the lab from a test file: one call before the tests. */
import t from 'tap';
import { enterLab } from '../../../src/lab/enter.ts';

/** True inside. Where no namespaces can be made, registers one skipped test that says why and returns false. */
export async function insideLab(): Promise<boolean> {
  const entry = await enterLab();
  if (entry.kind === 'inside') return true;
  t.test('namespaces can be made here', { skip: `${entry.cause}; ${entry.remedy}` }, async () => {});
  return false;
}
