package client;

import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.vault.VaultException;
import org.springframework.vault.authentication.AppRoleAuthentication;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.RoleId;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.SecretId;
import org.springframework.vault.authentication.LifecycleAwareSessionManager;
import org.springframework.vault.authentication.LifecycleAwareSessionManagerSupport;
import org.springframework.vault.authentication.SimpleSessionManager;
import org.springframework.vault.authentication.TokenAuthentication;
import org.springframework.vault.client.VaultClients;
import org.springframework.vault.client.VaultEndpoint;
import org.springframework.vault.core.VaultKeyValueOperationsSupport.KeyValueBackend;
import org.springframework.vault.core.VaultTemplate;
import org.springframework.vault.support.Policy;
import org.springframework.vault.support.Policy.BuiltinCapabilities;
import org.springframework.vault.support.Policy.Rule;
import org.springframework.vault.support.VaultMount;
import org.springframework.vault.support.VaultTokenRequest;
import org.springframework.vault.support.Versioned;

/** The main jobs with spring-vault-core, as a Spring application does them: templates, sessions, versions, wrapping, transit. */
public final class Main {
  private Main() {}

  /** Ends with a code whatever threads the library left. */
  public static void main(String[] args) {
    try {
      jobs();
      System.out.println("spring-vault-core: all as expected");
      System.exit(0);
    } catch (Throwable e) {
      e.printStackTrace();
      System.exit(1);
    }
  }

  private static void jobs() throws Exception {
    VaultEndpoint endpoint = VaultEndpoint.from(URI.create(System.getenv("ADDR")));
    // The JDK's client offers an upgrade to h2c on plain connections, which servers must ignore.
    var http = new JdkClientHttpRequestFactory();
    var root = new VaultTemplate(
        endpoint, http, new SimpleSessionManager(new TokenAuthentication(System.getenv("TOKEN"))));
    root.afterPropertiesSet();

    var sys = root.opsForSys();
    check(sys.isInitialized() && !sys.health().isSealed(), "health");
    sys.mount("secret", VaultMount.builder().type("kv").options(Map.of("version", "2")).build());
    check(sys.getMounts().containsKey("secret/"), "mounts");
    sys.createOrUpdatePolicy("app", Policy.of(
        Rule.builder().path("secret/data/app/*").capability(BuiltinCapabilities.READ).build()));
    check(sys.getPolicyNames().contains("app") && sys.getPolicy("app").getRules().size() == 1, "policy");

    var kv = root.opsForKeyValue("secret", KeyValueBackend.KV_2);
    kv.put("app/db", Map.of("user", "ann"));
    kv.patch("app/db", Map.of("more", "x"));
    check(kv.get("app/db").getData().equals(Map.of("user", "ann", "more", "x")), "patched");
    check(kv.list("app").equals(List.of("db")), "list");
    var versions = root.opsForVersionedKeyValue("secret");
    versions.put("app/v", Map.of("n", 1));
    versions.put("app/v", Map.of("n", 2));
    Versioned<Map<String, Object>> one = versions.get("app/v", Versioned.Version.from(1));
    check(one.getRequiredData().get("n").equals(1), "version 1");
    versions.delete("app/v");
    Versioned<Map<String, Object>> gone = versions.get("app/v");
    check(gone.getMetadata().isDeleted() && !gone.hasData(), "deleted version");
    versions.undelete("app/v", Versioned.Version.from(2));
    Versioned<Map<String, Object>> back = versions.get("app/v");
    check(back.getRequiredData().get("n").equals(2), "undeleted version");
    check(versions.get("none") == null && root.read("secret/data/none") == null, "nothing there");

    sys.authMount("approle", VaultMount.create("approle"));
    root.write("auth/approle/role/job", Map.of("token_policies", "app", "token_ttl", "6s", "token_period", "6s"));
    String role = (String) root.read("auth/approle/role/job/role-id").getRequiredData().get("role_id");
    String secret = (String) root.write("auth/approle/role/job/secret-id", null).getRequiredData().get("secret_id");
    var login = new AppRoleAuthentication(
        AppRoleAuthenticationOptions.builder().roleId(RoleId.provided(role)).secretId(SecretId.provided(secret)).build(),
        VaultClients.createRestTemplate(endpoint, http));
    var scheduler = new ThreadPoolTaskScheduler();
    scheduler.initialize();
    // Renewed two seconds before the end; an answer with less than three left would mean a new login.
    var trigger = new LifecycleAwareSessionManagerSupport.FixedTimeoutRefreshTrigger(Duration.ofSeconds(2), Duration.ofSeconds(3));
    var session = new LifecycleAwareSessionManager(login, scheduler, VaultClients.createRestTemplate(endpoint, http), trigger);
    var app = new VaultTemplate(endpoint, http, session);
    app.afterPropertiesSet();
    check(app.opsForKeyValue("secret", KeyValueBackend.KV_2).get("app/db").getData().get("user").equals("ann"), "app");
    refused(() -> app.write("secret/data/app/db", Map.of("data", Map.of())), "permission denied");
    String first = session.getSessionToken().getToken();

    var token = root.opsForToken().create(
        VaultTokenRequest.builder().withPolicy("app").ttl(Duration.ofMinutes(5)).renewable().build());
    check(token.getAuth().get("lease_duration").equals(300), "token");
    root.opsForToken().revoke(token.getToken());

    var wrapping = root.opsForWrapping();
    var wrapped = wrapping.wrap(Map.of("a", "b"), Duration.ofMinutes(1));
    check(wrapping.lookup(wrapped.getToken()) != null, "wrapping lookup");
    check(wrapping.read(wrapped.getToken()).getRequiredData().equals(Map.of("a", "b")), "unwrapped");
    check(wrapping.lookup(wrapped.getToken()) == null, "unwrapped once only");

    sys.mount("transit", VaultMount.create("transit"));
    var transit = root.opsForTransit();
    transit.createKey("k");
    String sealed = transit.encrypt("k", "hello");
    check(sealed.startsWith("vault:v1:") && transit.decrypt("k", sealed).equals("hello"), "transit");
    transit.rotate("k");
    check(transit.rewrap("k", sealed).startsWith("vault:v2:"), "rewrapped");

    // The session renews its token before it ends: after more than one lifetime it is still the same and good.
    long end = System.nanoTime() + Duration.ofSeconds(8).toNanos();
    while (System.nanoTime() < end) {
      check(app.read("auth/token/lookup-self") != null, "the session's token");
      Thread.sleep(500);
    }
    check(session.getSessionToken().getToken().equals(first), "renewed, not replaced");
    session.destroy();
    scheduler.shutdown();
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private static void refused(Runnable action, String words) {
    try {
      action.run();
    } catch (VaultException e) {
      check(e.getMessage().contains(words), e.getMessage());
      return;
    }
    throw new AssertionError("was allowed: " + words);
  }
}
