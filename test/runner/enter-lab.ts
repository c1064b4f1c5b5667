/**
 * Loaded first into processes of namespace tests (`--import`): a file that works in a lab enters it here, before the program
 * outside, which only waits, has loaded all that the one inside needs.
 *
 * I1: what a file waits for before it enters the lab is still done outside: such a file enters by itself.
 * I2: where no lab can be entered, the file finds that out once more and says so by a skip.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { enterLab, isInsideLab } from '../../src/lab/enter.ts';

const firstWait = /^\S.*\bawait\b.*$/m;
const entering = /\bawait (insideLab|canRunLoads)\(\)/;

const [, script = ''] = process.argv;
// Inside, the file arms what ends the inner program, once.
if (!isInsideLab() && entering.test(firstWait.exec(readFileSync(script, 'utf8'))?.[0] ?? '')) await enterLab();
