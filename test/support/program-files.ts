/**
 * The programs that tests start: as they are shipped, when the run has built them (`test/run.ts`), else the sources. A built
 * one starts in a quarter of the time.
 */
import path from 'node:path';
import process from 'node:process';

const sources = path.resolve(import.meta.dirname, '../../bin');
const built = process.env.AMBIT_TEST_PROGRAMS;

/** For `LabMeshOptions.programs`. */
export const builtPrograms: { readonly programs?: string } = built === undefined ? {} : { programs: built };

/** Absolute path of a program by its name: `ztunnel`. */
export function programFile(name: string): string {
  return built === undefined ? path.join(sources, `${name}.ts`) : path.join(built, `${name}.js`);
}
