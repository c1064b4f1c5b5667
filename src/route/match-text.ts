/** Whether a text matches: one meaning for routes and policies. */
import type { TextMatch } from './model.ts';

export function matchesText(match: TextMatch, text: string): boolean {
  switch (match.kind) {
    case 'presence':
      return text.length > 0;
    case 'regex':
      return match.test(text);
    case 'exact':
      return match.ignoreCase ? text.toLowerCase() === match.value.toLowerCase() : text === match.value;
    case 'prefix':
      return match.ignoreCase ? text.toLowerCase().startsWith(match.value.toLowerCase()) : text.startsWith(match.value);
    case 'suffix':
      return match.ignoreCase ? text.toLowerCase().endsWith(match.value.toLowerCase()) : text.endsWith(match.value);
  }
}
