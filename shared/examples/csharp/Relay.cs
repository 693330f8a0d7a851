// Ask mt5relay with StackExchange.Redis.
//
//   dotnet run -- ask ACCOUNT OPERATION [ARGUMENTS [TIMEOUT_MS [ID]]]
//   dotnet run -- snapshot ACCOUNT | health | events [COUNT]
//
// REDIS_URL, MT5_TERMINAL_ID and MT5_KEY_PREFIX as everywhere; SUBMIT_LUA says where submit.lua is.
// Prints JSON; the exit status is 0 for an answer and 1 for an error.
//
// One connection is shared by all callers, so nothing may block on it: the durable reply is looked
// for again and again. A request without a reply stream is served even when nobody waits any more.

using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using StackExchange.Redis;

/// <summary>A failure, as it stands in a reply.</summary>
public sealed class RelayException : Exception
{
    public JsonObject Error { get; }

    public RelayException(JsonObject error) : base($"{error["code"]}: {error["message"]}") =>
        Error = error;

    public RelayException(string code, string message, bool retryable, long? retryAfterMs = null)
        : this(new JsonObject
        {
            ["code"] = code,
            ["message"] = message,
            ["retryable"] = retryable,
            ["retry_after_ms"] = retryAfterMs,
        })
    {
    }
}

/// <summary>Asks one terminal; may be shared by threads.</summary>
public sealed class Relay
{
    private const int QueueLimit = 10_000; // requests that may wait; past them QUEUE_FULL
    private const int MarkerOutlivesMs = 60_000;
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1); // past the deadline
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private static readonly JsonSerializerOptions AsItIs = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // as other languages write it
    };

    private readonly IDatabase _redis;
    private readonly string _submit;
    private readonly string _tag;

    /// <param name="submit">The text of submit.lua, of the release that your worker runs.</param>
    public Relay(IDatabase redis, string submit, string terminal = "main", string prefix = "mt5")
    {
        _redis = redis;
        _submit = submit;
        _tag = $"{{{prefix}:{terminal}}}";
    }

    /// <summary>The reply. Whatever breaks on the way, an id is never executed twice.</summary>
    /// <exception cref="RelayException">Refused, failed, or not answered in time.</exception>
    public async Task<JsonObject> AskAsync(
        string account, string operation, JsonObject? arguments = null,
        int timeoutMs = 10_000, string? id = null)
    {
        id ??= Guid.NewGuid().ToString("N");
        arguments ??= new JsonObject();
        var clock = Stopwatch.StartNew();
        var giveUp = TimeSpan.FromMilliseconds(timeoutMs) + Grace;
        while (true)
        {
            try
            {
                var left = Math.Max(1, timeoutMs - (int)clock.ElapsedMilliseconds);
                var reply = await SubmitAsync(id, account, operation, arguments, left)
                    ?? await AwaitedAsync(id, clock, giveUp);
                if ((string?)reply["status"] == "error")
                {
                    throw new RelayException((JsonObject)reply["error"]!.DeepClone());
                }
                return reply;
            }
            catch (Exception trouble)
                when (trouble is RedisConnectionException or RedisTimeoutException)
            {
                if (clock.Elapsed + Pause >= giveUp)
                {
                    throw new RelayException("REDIS_UNAVAILABLE", trouble.Message, true);
                }
                await Task.Delay(Pause); // then the same id again
            }
            catch (RedisServerException refusal) // e.g. NOPERM
            {
                throw new RelayException("REDIS_UNAVAILABLE", refusal.Message, true);
            }
        }
    }

    /// <summary>The stored reply where there is one, null where it has to be waited for.</summary>
    private async Task<JsonObject?> SubmitAsync(
        string id, string account, string operation, JsonObject arguments, int timeoutMs)
    {
        var request = new JsonObject
        {
            ["v"] = 1,
            ["id"] = id,
            ["account"] = account,
            ["operation"] = operation,
            ["arguments"] = arguments.DeepClone(),
            ["timeout_ms"] = timeoutMs,
        };
        RedisKey[] keys =
        {
            $"{_tag}:requests", $"{_tag}:lease", $"{_tag}:health", $"{_tag}:queue",
            $"{_tag}:shares", $"{_tag}:request:{id}", $"{_tag}:reply:{id}",
        };
        RedisValue[] words =
        {
            "", QueueLimit, 0, MarkerOutlivesMs, // "": no reply stream
            Fingerprint(account, operation, arguments), request.ToJsonString(AsItIs), timeoutMs,
            account,
        };
        // NoScriptCache: EVAL. To send the digest instead, the user needs +script|load too.
        var answers = (RedisResult[])(await _redis.ScriptEvaluateAsync(
            _submit, keys, words, CommandFlags.NoScriptCache))!;
        var said = (RedisResult[])answers[1]!; // after the server's time: one for each request
        switch ((string?)said[0])
        {
            case "stored":
                return Parsed((string)said[1]!);
            case "accepted" or "attached":
                return null;
            case "refused":
                var waitMs = (long)said[2];
                throw new RelayException(
                    (string)said[1]!, "refused", true, waitMs > 0 ? waitMs : null);
            case "conflict":
                throw new RelayException("VALIDATION_FAILED", "id: another question has it", false);
            default:
                throw new RelayException("INTERNAL", $"submit.lua said {said[0]}", false);
        }
    }

    private async Task<JsonObject> AwaitedAsync(string id, Stopwatch clock, TimeSpan giveUp)
    {
        while (clock.Elapsed < giveUp)
        {
            var reply = await _redis.StringGetAsync($"{_tag}:reply:{id}");
            if (reply.HasValue)
            {
                return Parsed(reply!);
            }
            await Task.Delay(Pause);
        }
        throw new RelayException(
            "DEADLINE_EXCEEDED", "no reply; ask again with the same id", true);
    }

    /// <summary>The last good full read, or null. It says how old it is: as_of_ms.</summary>
    public async Task<JsonObject?> SnapshotAsync(string account)
    {
        var found = await _redis.HashGetAsync(
            $"{_tag}:snapshot:{account}", new RedisValue[] { "as_of", "synchronized", "data" });
        return found[2].IsNull
            ? null
            : new JsonObject
            {
                ["as_of_ms"] = (long)found[0],
                ["synchronized"] = (string?)found[1],
                ["data"] = Parsed(found[2]!),
            };
    }

    /// <summary>Empty: no worker lives. All values are text.</summary>
    public async Task<Dictionary<string, string>> HealthAsync() =>
        (await _redis.HashGetAllAsync($"{_tag}:health")).ToStringDictionary();

    /// <summary>The newest ones, oldest first. To follow them: XRANGE from the last id.</summary>
    public async Task<JsonArray> EventsAsync(int count = 10)
    {
        var entries = await _redis.StreamRangeAsync(
            $"{_tag}:events", "-", "+", count, Order.Descending);
        return new JsonArray(
            entries.Reverse().Select(one => (JsonNode)Parsed(one["event"]!)).ToArray());
    }

    /// <summary>What is asked, whoever asks: by it `submit` knows a repetition.</summary>
    private static string Fingerprint(string account, string operation, JsonObject arguments)
    {
        var sorted = new JsonObject(
            arguments.OrderBy(one => one.Key, StringComparer.Ordinal)
                .Select(one => KeyValuePair.Create(one.Key, one.Value?.DeepClone())));
        var asked = new JsonArray(account, operation, sorted).ToJsonString(AsItIs);
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(asked)))[..32].ToLower();
    }

    private static JsonObject Parsed(string json) => JsonNode.Parse(json)!.AsObject();
}

public static class Program
{
    public static async Task<int> Main(string[] words)
    {
        var url = new Uri(Setting("REDIS_URL", "redis://127.0.0.1:6379/0"));
        var user = Uri.UnescapeDataString(url.UserInfo).Split(':', 2);
        var options = new ConfigurationOptions
        {
            EndPoints = { { url.Host, url.Port > 0 ? url.Port : 6379 } },
            User = user.Length > 1 ? user[0] : null,
            Password = user.Length > 1 ? user[1] : null,
            Ssl = url.Scheme == "rediss",
            ConfigCheckSeconds = 0, // users of deploy/redis/users.acl may not ask for INFO
            TieBreaker = "",
            ConfigurationChannel = "",
            SetClientLibrary = false,
        };
        var lua = Setting("SUBMIT_LUA", "../../mt5relay_shared/scripts/submit.lua");
        using var connection = await ConnectionMultiplexer.ConnectAsync(options);
        var relay = new Relay(
            connection.GetDatabase(), await File.ReadAllTextAsync(lua),
            Setting("MT5_TERMINAL_ID", "main"), Setting("MT5_KEY_PREFIX", "mt5"));
        try
        {
            Console.WriteLine(JsonSerializer.Serialize(await Command(relay, words)));
            return 0;
        }
        catch (RelayException failed)
        {
            var said = new JsonObject { ["status"] = "error", ["error"] = failed.Error };
            Console.WriteLine(said.ToJsonString());
            return 1;
        }
    }

    private static async Task<object?> Command(Relay relay, string[] words)
    {
        string Word(int place, string otherwise) => place < words.Length ? words[place] : otherwise;
        switch (Word(0, ""))
        {
            case "ask":
                return await relay.AskAsync(
                    words[1], words[2], JsonNode.Parse(Word(3, "{}"))!.AsObject(),
                    int.Parse(Word(4, "10000")), Word(5, Guid.NewGuid().ToString("N")));
            case "snapshot":
                return await relay.SnapshotAsync(words[1]);
            case "health":
                return await relay.HealthAsync();
            case "events":
                return await relay.EventsAsync(int.Parse(Word(1, "10")));
            default:
                throw new ArgumentException("usage: relay ask|snapshot|health|events");
        }
    }

    private static string Setting(string name, string otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : otherwise;
}
