/** The keys of session tokens, from a file that all replicas read. */
import { readFileSync } from 'node:fs';
import { errorText } from '../base/errors.ts';
import type { L7Model } from '../route/model.ts';
import { type SessionKeys, sessionKeys } from '../waypoint/session-token.ts';

const shortestSecret = 32;
const mostSecrets = 8;

/** One secret a line, the one to seal with first; a text is what is wrong. Undefined: no file is named. */
export function readSessionKeys(file: string | undefined): SessionKeys | string | undefined {
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return `AMBIT_SESSION_KEY_FILE: ${errorText(error)}`;
  }
  const [first, ...others] = text.split('\n').flatMap((line) => line.trim() || []);
  if (first === undefined) return `AMBIT_SESSION_KEY_FILE: ${file} is empty`;
  if ([first, ...others].some((secret) => secret.length < shortestSecret)) {
    return `AMBIT_SESSION_KEY_FILE: ${file}: each line must have at least ${shortestSecret} characters`;
  }
  if (others.length >= mostSecrets) return `AMBIT_SESSION_KEY_FILE: ${file}: more than ${mostSecrets} lines`;
  return sessionKeys([first, ...others]);
}

/** Whether any route or service asks for sessions. */
export function usesSessions({ ports, backends }: L7Model): boolean {
  if (backends.sessions.size > 0) return true;
  for (const { routes, consumers } of ports.values()) {
    if (routes.some(({ session }) => session !== undefined)) return true;
    for (const group of consumers?.values() ?? [])
      if (group.routes.some(({ session }) => session !== undefined)) return true;
  }
  return false;
}
