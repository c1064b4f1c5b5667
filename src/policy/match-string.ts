/** Whether a text is what a policy's value means: one meaning for L4 and L7. */
import type { StringMatch } from '../mesh/model.ts';

export function matchesString(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'presence':
      return text !== '';
    case 'exact':
      return text === match.value;
    case 'prefix':
      return text.startsWith(match.value);
    case 'suffix':
      return text.endsWith(match.value);
  }
}
