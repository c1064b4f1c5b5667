/** What is spoken to an endpoint: HTTP/1.1, or HTTP/2 by prior knowledge (in TLS: agreed on by ALPN). */
export type UpstreamProtocol = 'h1' | 'h2c';
