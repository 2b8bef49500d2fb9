// The OpenID Certified provider of npm, for test_live_oidc.py: one client, any user name, everybody in one group.
// Usage: node provider.mjs PORT URL-OF-THE-PAGE
import Provider from 'oidc-provider';

const [port, url] = [Number(process.argv[2]), process.argv[3]];
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'fleet',
    client_secret: 'a secret of the client',
    redirect_uris: [`${url}/login/oidc/callback`],
    post_logout_redirect_uris: [`${url}/login?out=1`],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  pkce: { required: () => true },
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  findAccount: async (_context, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, preferred_username: id, groups: ['abuse-desk'] }),
  }),
  features: { devInteractions: { enabled: true } },
});
provider.listen(port, '127.0.0.1', () => console.log('ready'));
