import bench.Customer;
import bench.Event;
import com.fasterxml.jackson.core.JsonFactory;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.WindowAssigner;
import org.apache.flink.streaming.api.windowing.triggers.EventTimeTrigger;
import org.apache.flink.streaming.api.windowing.triggers.Trigger;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Jobs A and B on the DataStream API in a local cluster: keyed state and event-time timers for A, an event-time window for B.
 *
 * <p>Arguments: bootstrap, topic, run, guarantee (exactly_once or at_least_once), parallelism, checkpoint interval in ms, directory.
 */
public final class FlinkJob {
    private static final OutputTag<String> ALERTS = new OutputTag<>("alerts", Types.STRING) {};

    private FlinkJob() {}

    public static class EventSchema extends AbstractDeserializationSchema<Event> {
        private transient JsonFactory json;

        public EventSchema() {
            super(Event.class);
        }

        @Override
        public Event deserialize(byte[] value) throws IOException {
            if (json == null) {
                json = new JsonFactory();
            }
            return Event.parse(json, value);
        }
    }

    /** What an event or a deadline adds to a pane. cell: segment and channel. */
    public static class Change {
        public byte cell;
        public int events, switches, opened, closed, lost;
        public long time;

        public Change() {}
    }

    public static class Counts {
        public int events, switches, opened, closed, lost;

        public Counts() {}
    }

    public static class JobA extends KeyedProcessFunction<String, Event, Change> {
        private transient ValueState<Customer> state;
        private transient long newest;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("customer", Customer.class));
        }

        private Customer.Effects effects(Context context, Collector<Change> out) {
            return new Customer.Effects() {
                @Override
                public void count(long time, byte segment, byte channel, int events, int switches, int opened, int closed, int lost) {
                    Change change = new Change();
                    change.time = time;
                    change.cell = (byte) (segment << 4 | channel);
                    change.events = events;
                    change.switches = switches;
                    change.opened = opened;
                    change.closed = closed;
                    change.lost = lost;
                    out.collect(change);
                }

                @Override
                public void alert(String customer, long time, String json) {
                    context.output(ALERTS, json);
                }
            };
        }

        @Override
        public void processElement(Event event, Context context, Collector<Change> out) throws IOException {
            Customer customer = state.value();
            if (customer == null) {
                customer = new Customer();
            }
            newest = Math.max(newest, event.time);
            if (customer.step(event, effects(context, out))) {
                context.timerService().registerEventTimeTimer(customer.deadline);
            }
            state.update(customer);
        }

        @Override
        public void onTimer(long time, OnTimerContext context, Collector<Change> out) throws IOException {
            Customer customer = state.value();
            if (customer == null || !customer.open) {
                return;
            }
            if (customer.deadline > time) {
                context.timerService().registerEventTimeTimer(customer.deadline);
                return;
            }
            // A bounded source ends with the end of time, when every timer fires: not what happens in a stream.
            boolean end = context.timerService().currentWatermark() == Long.MAX_VALUE;
            if (!end || time <= newest - Customer.DISORDER_MS) {
                customer.abandon(context.getCurrentKey(), effects(context, out));
                state.update(customer);
            }
        }
    }

    /** Panes by the change's own time: an abandonment belongs to its deadline, not to the event that made it known. */
    public static class PaneAssigner extends WindowAssigner<Object, TimeWindow> {
        @Override
        public Collection<TimeWindow> assignWindows(Object change, long timestamp, WindowAssignerContext context) {
            long begin = ((Change) change).time / Customer.PANE_MS * Customer.PANE_MS;
            return List.of(new TimeWindow(begin, begin + Customer.PANE_MS));
        }

        @Override
        @SuppressWarnings("unchecked")
        public Trigger<Object, TimeWindow> getDefaultTrigger() {
            return EventTimeTrigger.create();
        }

        @Override
        public TypeSerializer<TimeWindow> getWindowSerializer(ExecutionConfig configuration) {
            return new TimeWindow.Serializer();
        }

        @Override
        public boolean isEventTime() {
            return true;
        }
    }

    public static class Sum implements AggregateFunction<Change, Counts, Counts> {
        @Override
        public Counts createAccumulator() {
            return new Counts();
        }

        @Override
        public Counts add(Change change, Counts counts) {
            counts.events += change.events;
            counts.switches += change.switches;
            counts.opened += change.opened;
            counts.closed += change.closed;
            counts.lost += change.lost;
            return counts;
        }

        @Override
        public Counts getResult(Counts counts) {
            return counts;
        }

        @Override
        public Counts merge(Counts into, Counts other) {
            into.events += other.events;
            into.switches += other.switches;
            into.opened += other.opened;
            into.closed += other.closed;
            into.lost += other.lost;
            return into;
        }
    }

    public static class Render extends ProcessWindowFunction<Counts, String, Byte, TimeWindow> {
        @Override
        public void process(Byte cell, Context context, Iterable<Counts> sums, Collector<String> out) {
            Counts n = sums.iterator().next();
            long pane = context.window().getStart() / Customer.PANE_MS;
            out.collect(Customer.pane(pane, cell >> 4, cell & 15, n.events, n.switches, n.opened, n.closed, n.lost));
        }
    }

    private static KafkaSink<String> sink(String bootstrap, String topic, boolean exactlyOnce) {
        return KafkaSink.<String>builder()
            .setBootstrapServers(bootstrap)
            .setRecordSerializer(
                KafkaRecordSerializationSchema.builder().setTopic(topic).setValueSerializationSchema(new SimpleStringSchema()).build())
            .setDeliveryGuarantee(exactlyOnce ? DeliveryGuarantee.EXACTLY_ONCE : DeliveryGuarantee.AT_LEAST_ONCE)
            .setTransactionalIdPrefix(topic)
            .setProperty("transaction.timeout.ms", "600000")
            .setProperty("linger.ms", "20")
            .build();
    }

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0], topic = arguments[1], run = arguments[2];
        boolean exactlyOnce = arguments[3].equals("exactly_once");
        Configuration configuration = new Configuration();
        configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + arguments[6]);
        configuration.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        configuration.set(RestOptions.BIND_PORT, "0");
        configuration.set(PipelineOptions.OBJECT_REUSE, true);
        StreamExecutionEnvironment environment =
            StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(arguments[4]), configuration);
        environment.enableCheckpointing(Long.parseLong(arguments[5]));
        KafkaSource<Event> source = KafkaSource.<Event>builder()
            .setBootstrapServers(bootstrap)
            .setTopics(topic)
            .setGroupId(run)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setValueOnlyDeserializer(new EventSchema())
            .build();
        WatermarkStrategy<Event> watermarks = WatermarkStrategy
            .<Event>forBoundedOutOfOrderness(Duration.ofMillis(Customer.DISORDER_MS))
            .withTimestampAssigner((event, timestamp) -> event.time);
        SingleOutputStreamOperator<Change> changes =
            environment.fromSource(source, watermarks, "events").keyBy(event -> event.customer).process(new JobA());
        changes.getSideOutput(ALERTS).sinkTo(sink(bootstrap, run + "-alerts", exactlyOnce));
        changes.keyBy(change -> change.cell)
            .window(new PaneAssigner())
            .aggregate(new Sum(), new Render(), Types.POJO(Counts.class), Types.POJO(Counts.class), Types.STRING)
            .sinkTo(sink(bootstrap, run + "-panes", exactlyOnce));
        environment.execute("bench");
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.printf("{\"cpu_seconds\":%.2f}%n", system.getProcessCpuTime() / 1e9);
        System.exit(0);
    }
}
