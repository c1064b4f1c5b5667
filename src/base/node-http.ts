/**
 * Node's `http` and `https` for whoever needs more of them than types. Importing them as ES modules makes Node read all that
 * they export, `WebSocket` among it, for which it loads its own undici: 17 MB of an empty program, 2 to 4 of a proxy.
 */
import process from 'node:process';

const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');

export const { Agent: HttpAgent, createServer, request: requestHttp, ServerResponse, STATUS_CODES } = http;
export const { Agent: HttpsAgent, request: requestHttps } = https;
