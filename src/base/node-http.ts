/**
 * Node's `http` and `https` for whoever needs more of them than types. Imported as ES modules they cost 17 MB: what an ES
 * module names can be imported one by one, so Node reads all of it, `WebSocket` among it, which loads Node's own undici.
 */
import process from 'node:process';

const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');

export const { Agent: HttpAgent, createServer, request: requestHttp, ServerResponse, STATUS_CODES } = http;
export const { Agent: HttpsAgent, request: requestHttps } = https;
