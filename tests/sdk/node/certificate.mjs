// Certificates made for a test, with the `openssl` of the system.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A self-signed certificate for 127.0.0.1 and its key, as PEM; `name` tells it from others. */
export function certificate(name) {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-certificate-'));
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
    const made = ['req', '-x509', ...curve, '-days', '2', ...names, '-keyout', key, '-out', cert];
    execFileSync('openssl', made, { stdio: 'pipe' });
    return { name, cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
