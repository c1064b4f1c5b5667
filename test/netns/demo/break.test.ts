/** The demo notices a program that is gone, whichever it is, and names the checks that no longer hold. */
import t from 'tap';
import { canMakeNamespaces, failedChecks, firstUser, runDemo, secondUser } from './demo-run.ts';

/** What fails, among others, and what must go on holding. */
const cases = [
  {
    program: 'ztunnel-node-a',
    preset: 'legacy',
    user: firstUser,
    fails: ['tunnels to the waypoint, as the client', 'sleep GET is answered', 'every proxy is ready'],
    holds: ['calls the service by its virtual address', 'the control plane answers'],
  },
  {
    program: 'ztunnel-node-b',
    preset: 'modern',
    user: secondUser,
    fails: ['calls the application, as its peer', 'sleep GET is answered', 'every proxy is ready'],
    holds: ['client and waypoint prove who they are', 'sleep DELETE is denied', 'notsleep GET is denied'],
  },
  {
    program: 'waypoint',
    preset: 'modern',
    user: firstUser,
    fails: ['goes through its stages', 'sleep DELETE is denied', 'every proxy is ready'],
    holds: ['its own rules turn the call to ztunnel', 'nine of ten requests go to reviews v1'],
  },
  {
    program: 'reviews-waypoint',
    preset: 'legacy',
    user: secondUser,
    fails: ['the page came, with details and reviews', 'nine of ten requests go to reviews v1', 'every proxy is ready'],
    holds: ['waypoint and pod prove who they are', 'sleep GET is answered'],
  },
] as const;

t.setTimeout(240_000);
t.jobs = 2;

if (await canMakeNamespaces()) {
  for (const { program, preset, user, fails, holds } of cases) {
    t.test(`without ${program} (${preset}, as ${user.name})`, async (t) => {
      const { code, output } = await runDemo(t, ['--preset', preset, '--break', program], { user });
      t.equal(code, 1, output);
      const failed = failedChecks(output);
      for (const name of fails) t.ok(failed.includes(name), `fails: ${name}`);
      for (const name of holds) {
        t.notOk(failed.includes(name), `holds: ${name}`);
        t.match(output, `✓ ${name}`);
      }
    });
  }

  t.test('without the control plane, only the control plane is missing', async (t) => {
    const { code, output } = await runDemo(t, ['--break', 'control']);
    t.equal(code, 1, output);
    t.same(failedChecks(output), ['the control plane answers']);
  });
}
