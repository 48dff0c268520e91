import bench.Customer;
import bench.Event;
import com.fasterxml.jackson.core.JsonFactory;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Jobs A and B on the Processor API. Kafka Streams has no timers per key: deadlines are in an index in memory, by second, which is
 * made from the store at the start and looked at as stream time goes on.
 *
 * <p>Arguments: bootstrap, topic, run, guarantee (exactly_once_v2 or at_least_once), store (memory or rocksdb), threads, commit
 * interval in ms (0: the default), number of events (0: until SIGTERM), state directory, cache in MB.
 */
public final class KafkaStreamsJob {
    private static final AtomicLong PROCESSED = new AtomicLong();
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static final String CUSTOMERS = "customers", PANES = "panes", ALERTS_SINK = "alerts", PANES_SINK = "panes-out";
    private static long total;

    private KafkaStreamsJob() {}

    static final class EventDeserializer implements Deserializer<Event> {
        private final JsonFactory json = new JsonFactory();

        @Override
        public Event deserialize(String topic, byte[] value) {
            try {
                return Event.parse(json, value);
            } catch (IOException exception) {
                throw new SerializationException(exception);
            }
        }
    }

    static final class CustomerSerde implements Serializer<Customer>, Deserializer<Customer> {
        private static final int FIXED_BYTES = 3 + 1 + 4 + 8 + 1;

        @Override
        public byte[] serialize(String topic, Customer customer) {
            if (customer == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.allocate(FIXED_BYTES + Long.BYTES * (customer.recentCount + customer.contacts.length));
            buffer.put(customer.channel).put(customer.segment).put(customer.checkoutChannel).put((byte) (customer.open ? 1 : 0));
            buffer.putInt(customer.switches).putLong(customer.deadline).put((byte) customer.recentCount);
            for (int i = 0; i < customer.recentCount; i++) {
                buffer.putLong(customer.recent[i]);
            }
            for (long contact : customer.contacts) {
                buffer.putLong(contact);
            }
            return buffer.array();
        }

        @Override
        public Customer deserialize(String topic, byte[] bytes) {
            if (bytes == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            Customer customer = new Customer();
            customer.channel = buffer.get();
            customer.segment = buffer.get();
            customer.checkoutChannel = buffer.get();
            customer.open = buffer.get() == 1;
            customer.switches = buffer.getInt();
            customer.deadline = buffer.getLong();
            customer.recentCount = buffer.get();
            for (int i = 0; i < customer.recentCount; i++) {
                customer.recent[i] = buffer.getLong();
            }
            customer.contacts = new long[buffer.remaining() / Long.BYTES];
            for (int i = 0; i < customer.contacts.length; i++) {
                customer.contacts[i] = buffer.getLong();
            }
            return customer;
        }

        @Override
        public void configure(Map<String, ?> configuration, boolean isKey) {}

        @Override
        public void close() {}
    }

    /** One partition. */
    static final class Job implements Processor<byte[], Event, byte[], byte[]>, Customer.Effects {
        private static final int COUNTERS = 5;
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<String, Customer> customers;
        private KeyValueStore<Long, byte[]> panes;
        private final TreeMap<Long, List<String>> timers = new TreeMap<>();
        private final HashSet<String> armed = new HashSet<>();
        private long closed = Long.MIN_VALUE;

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
            customers = given.getStateStore(CUSTOMERS);
            panes = given.getStateStore(PANES);
            try (KeyValueIterator<String, Customer> all = customers.all()) {
                while (all.hasNext()) {
                    KeyValue<String, Customer> entry = all.next();
                    if (entry.value.open) {
                        arm(entry.key, entry.value.deadline);
                    }
                }
            }
            given.schedule(Duration.ofSeconds(1), PunctuationType.STREAM_TIME, this::tick);
        }

        @Override
        public void process(Record<byte[], Event> record) {
            Event event = record.value();
            Customer customer = customers.get(event.customer);
            if (customer == null) {
                customer = new Customer();
            }
            if (customer.step(event, this)) {
                arm(event.customer, customer.deadline);
            }
            customers.put(event.customer, customer);
            if (PROCESSED.incrementAndGet() == total) {
                DONE.countDown();
            }
        }

        private void arm(String customer, long deadline) {
            if (armed.add(customer)) {
                set(customer, deadline);
            }
        }

        private void set(String customer, long deadline) {
            timers.computeIfAbsent((deadline + 999) / 1000, second -> new ArrayList<>()).add(customer);
        }

        @Override
        public void count(long time, byte segment, byte channel, int events, int switches, int opened, int closed, int lost) {
            long key = time / Customer.PANE_MS << 8 | segment << 4 | channel;
            byte[] before = panes.get(key);
            ByteBuffer old = before == null ? ByteBuffer.allocate(COUNTERS * Integer.BYTES) : ByteBuffer.wrap(before);
            ByteBuffer now = ByteBuffer.allocate(COUNTERS * Integer.BYTES);
            now.putInt(old.getInt() + events).putInt(old.getInt() + switches).putInt(old.getInt() + opened);
            now.putInt(old.getInt() + closed).putInt(old.getInt() + lost);
            panes.put(key, now.array());
        }

        @Override
        public void alert(String customer, long time, String json) {
            context.forward(new Record<>(customer.getBytes(StandardCharsets.UTF_8), json.getBytes(StandardCharsets.UTF_8), time), ALERTS_SINK);
        }

        private void tick(long streamTime) {
            long watermark = streamTime - Customer.DISORDER_MS;
            while (!timers.isEmpty() && timers.firstKey() * 1000 <= watermark) {
                for (String key : timers.pollFirstEntry().getValue()) {
                    Customer customer = customers.get(key);
                    if (customer == null || !customer.open) {
                        armed.remove(key);
                    } else if (customer.deadline <= watermark) {
                        armed.remove(key);
                        customer.abandon(key, this);
                        customers.put(key, customer);
                    } else {
                        set(key, customer.deadline);
                    }
                }
            }
            close(watermark / Customer.PANE_MS - 1);
        }

        private void close(long last) {
            if (last <= closed) {
                return;
            }
            // Not from 0: until the next commit the cache holds a tombstone for every pane deleted.
            long from = closed == Long.MIN_VALUE ? 0 : closed + 1 << 8;
            closed = last;
            try (KeyValueIterator<Long, byte[]> complete = panes.range(from, (last + 1 << 8) - 1)) {
                while (complete.hasNext()) {
                    KeyValue<Long, byte[]> entry = complete.next();
                    long pane = entry.key >> 8;
                    int cell = (int) (entry.key & 255);
                    ByteBuffer n = ByteBuffer.wrap(entry.value);
                    String json = Customer.pane(pane, cell >> 4, cell & 15, n.getInt(), n.getInt(), n.getInt(), n.getInt(), n.getInt());
                    context.forward(new Record<>(null, json.getBytes(StandardCharsets.UTF_8), pane * Customer.PANE_MS), PANES_SINK);
                    panes.delete(entry.key);
                }
            }
        }
    }

    /** Event time. */
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return ((Event) record.value()).time;
        }
    }

    private static Topology topology(String topic, String run, boolean memory) {
        CustomerSerde serde = new CustomerSerde();
        Topology topology = new Topology();
        topology.addSource("source", new ByteArrayDeserializer(), new EventDeserializer(), topic);
        topology.addProcessor("job", Job::new, "source");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(store(CUSTOMERS, memory), Serdes.String(), Serdes.serdeFrom(serde, serde)).withCachingEnabled(), "job");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(store(PANES, memory), Serdes.Long(), Serdes.ByteArray()).withCachingEnabled(), "job");
        topology.addSink(ALERTS_SINK, run + "-alerts", new ByteArraySerializer(), new ByteArraySerializer(), "job");
        topology.addSink(PANES_SINK, run + "-panes", new ByteArraySerializer(), new ByteArraySerializer(), "job");
        return topology;
    }

    private static KeyValueBytesStoreSupplier store(String name, boolean memory) {
        return memory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentKeyValueStore(name);
    }

    public static void main(String[] arguments) throws InterruptedException {
        Properties configuration = new Properties();
        configuration.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        configuration.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[2]);
        configuration.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[3]);
        configuration.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[5]);
        if (!arguments[6].equals("0")) {
            configuration.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[6]);
        }
        total = Long.parseLong(arguments[7]);
        configuration.put(StreamsConfig.STATE_DIR_CONFIG, arguments[8]);
        configuration.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, Long.parseLong(arguments[9]) << 20);
        configuration.put(StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, EventTime.class);
        configuration.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 2000);
        configuration.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        KafkaStreams streams = new KafkaStreams(topology(arguments[1], arguments[2], arguments[4].equals("memory")), configuration);
        streams.setUncaughtExceptionHandler(exception -> {
            exception.printStackTrace();
            Runtime.getRuntime().halt(3);
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (DONE.getCount() > 0) {
                streams.close(Duration.ofSeconds(20));
            }
        }));
        streams.start();
        DONE.await();
        Thread.sleep(300); // the last punctuation
        streams.close(Duration.ofSeconds(60));
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.printf("{\"events\":%d,\"cpu_seconds\":%.2f}%n", PROCESSED.get(), system.getProcessCpuTime() / 1e9);
    }
}
