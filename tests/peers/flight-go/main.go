// flight-go ADDRESS works a Flight SQL server by Go's database/sql driver, and by the client under it for what database/sql has no
// words for: metadata, Arrow types, bulk ingest, cancelling. Prints a line for each check; exits with 1 if one fails. It makes tables
// go_rows, go_typed and go_bulk.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const slow = "SELECT count(*) FROM range(100000000000) a, range(1000) b"

var failed bool

func check(name string, ok bool, info ...any) {
	word := "ok  "
	if !ok {
		word, failed = "FAIL", true
	}
	fmt.Println(append([]any{word, name}, info...)...)
}

func must(err error) {
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
}

// codeOf finds gRPC's status in what the driver wraps.
func codeOf(err error) codes.Code {
	for ; err != nil; err = errors.Unwrap(err) {
		if s, ok := status.FromError(err); ok {
			return s.Code()
		}
	}
	return codes.OK
}

func byDatabaseSQL(ctx context.Context, address string) {
	db, err := sql.Open("flightsql", "flightsql://"+address+"?timeout=60s")
	must(err)
	defer db.Close()
	must(db.PingContext(ctx))

	_, err = db.ExecContext(ctx, "CREATE TABLE go_rows (id BIGINT, text VARCHAR, price DOUBLE, PRIMARY KEY (id))")
	check("create a table", err == nil, err)
	insert, err := db.PrepareContext(ctx, "INSERT INTO go_rows VALUES (?, ?, ?)")
	must(err)
	for id := int64(1); id <= 20; id++ {
		done, err := insert.ExecContext(ctx, id, fmt.Sprint("row ", id), float64(id)/2)
		must(err)
		rows, err := done.RowsAffected()
		if id == 20 {
			check("a prepared insert tells its rows", rows == 1 && err == nil, rows, err)
		}
	}
	must(insert.Close())
	var count int64
	var text string
	var price float64
	err = db.QueryRowContext(ctx, "SELECT count(*), max(text), sum(price) FROM go_rows WHERE id > ?", int64(10)).Scan(&count, &text, &price)
	check("a query with a parameter", err == nil && count == 10 && text == "row 20" && price == 77.5, err, count, text, price)
	rows, err := db.QueryContext(ctx, "SELECT range AS n FROM range(300000)")
	must(err)
	sum, n := int64(0), int64(0)
	for rows.Next() {
		must(rows.Scan(&n))
		sum += n
	}
	check("many rows", rows.Err() == nil && sum == 300_000*299_999/2, rows.Err(), sum)

	_, err = db.QueryContext(ctx, "SELECT txet FROM go_rows")
	check("a wrong name", codeOf(err) == codes.InvalidArgument && strings.Contains(err.Error(), "text"), err)
	_, err = db.ExecContext(ctx, "COPY go_rows TO '/tmp/x'")
	check("what a client may not", codeOf(err) == codes.PermissionDenied, err)
	_, err = db.BeginTx(ctx, nil)
	check("transactions are refused", codeOf(err) == codes.Unimplemented, err)
	_, err = db.QueryContext(ctx, "SELECT ? + ?", int64(1))
	check("a parameter too few", err != nil, err)

	brief, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = db.QueryRowContext(brief, slow).Scan(&count)
	check("a deadline ends a statement", err != nil && time.Since(start) < 20*time.Second, err)
}

// typed has a value and a NULL of each type that SQL has.
func typed() arrow.RecordBatch {
	item := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true})
	types := map[string]arrow.DataType{
		"bool": arrow.FixedWidthTypes.Boolean, "i8": arrow.PrimitiveTypes.Int8, "i16": arrow.PrimitiveTypes.Int16,
		"i32": arrow.PrimitiveTypes.Int32, "i64": arrow.PrimitiveTypes.Int64, "u8": arrow.PrimitiveTypes.Uint8,
		"u16": arrow.PrimitiveTypes.Uint16, "u32": arrow.PrimitiveTypes.Uint32, "u64": arrow.PrimitiveTypes.Uint64,
		"f32": arrow.PrimitiveTypes.Float32, "f64": arrow.PrimitiveTypes.Float64, "text": arrow.BinaryTypes.String,
		"bytes": arrow.BinaryTypes.Binary, "day": arrow.FixedWidthTypes.Date32, "time": arrow.FixedWidthTypes.Time64us,
		"us": &arrow.TimestampType{Unit: arrow.Microsecond}, "ns": &arrow.TimestampType{Unit: arrow.Nanosecond},
		"dec": &arrow.Decimal128Type{Precision: 38, Scale: 6}, "list": arrow.ListOf(arrow.PrimitiveTypes.Int32), "struct": item,
		"map":   arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64),
		"fixed": arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32),
	}
	values := map[string]string{
		"bool": "true", "i8": "-128", "i16": "-32768", "i32": "-2147483648", "i64": "-9007199254740993", "u8": "255", "u16": "65535",
		"u32": "4294967295", "u64": "18014398509481985", "f32": "1.5", "f64": "0.1", "text": `"ä €"`, "bytes": `"AP8="`,
		"day": `"2026-11-30"`, "time": `"23:59:59.999999"`, "us": `"2026-11-30 01:02:03.000004"`,
		"ns": `"2026-11-30 01:02:03.000000004"`, "dec": `"-12345678901234567890.123456"`, "list": "[1, null, 3]",
		"struct": `{"a": 1, "b": "x"}`, "map": `[{"key": "k", "value": 1}]`, "fixed": "[1.0, 2.0]",
	}
	fields, columns := []arrow.Field{}, []arrow.Array{}
	for name, kind := range types {
		column, _, err := array.FromJSON(memory.DefaultAllocator, kind, strings.NewReader("["+values[name]+", null]"))
		must(err)
		fields, columns = append(fields, arrow.Field{Name: name, Type: kind, Nullable: true}), append(columns, column)
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 2)
}

func ingest(ctx context.Context, client *flightsql.Client, table string, exists flightsql.TableDefinitionOptionsTableExistsOption,
	batches ...arrow.RecordBatch) (int64, error) {
	reader, err := array.NewRecordReader(batches[0].Schema(), batches)
	must(err)
	defer reader.Release()
	options := &flightsql.TableDefinitionOptions{IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionCreate, IfExists: exists}
	return client.ExecuteIngest(ctx, reader, &flightsql.ExecuteIngestOpts{TableDefinitionOptions: options, Table: table})
}

// read returns all rows of what `info` stands for, by column, as text.
func read(ctx context.Context, client *flightsql.Client, info *flight.FlightInfo, err error) (map[string][]string, *arrow.Schema) {
	must(err)
	columns := map[string][]string{}
	var schema *arrow.Schema
	for _, endpoint := range info.Endpoint {
		reader, err := client.DoGet(ctx, endpoint.Ticket)
		must(err)
		schema = reader.Schema()
		for reader.Next() {
			batch := reader.RecordBatch()
			for i, column := range batch.Columns() {
				for row := 0; row < column.Len(); row++ {
					columns[batch.ColumnName(i)] = append(columns[batch.ColumnName(i)], column.ValueStr(row))
				}
			}
		}
		must(reader.Err())
		reader.Release()
	}
	return columns, schema
}

func byClient(ctx context.Context, address string) {
	client, err := flightsql.NewClient(address, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer client.Close()

	given := typed()
	count, err := ingest(ctx, client, "go_typed", flightsql.TableDefinitionOptionsTableExistsOptionFail, given)
	check("bulk ingest of every type", err == nil && count == 2, count, err)
	info, err := client.Execute(ctx, "SELECT * FROM go_typed")
	back, schema := read(ctx, client, info, err)
	for i, column := range given.Columns() {
		name := given.ColumnName(i)
		want := []string{column.ValueStr(0), column.ValueStr(1)}
		check("there and back: "+name, reflect.DeepEqual(back[name], want), want, back[name], schema.Field(i).Type)
	}
	_, err = ingest(ctx, client, "go_typed", flightsql.TableDefinitionOptionsTableExistsOptionFail, given)
	check("a table that is there", codeOf(err) == codes.AlreadyExists, err)
	many := make([]arrow.RecordBatch, 50)
	for i := range many {
		many[i] = given
	}
	count, err = ingest(ctx, client, "go_bulk", flightsql.TableDefinitionOptionsTableExistsOptionAppend, many...)
	check("bulk ingest of many batches", err == nil && count == 100, count, err)
	asParameters(ctx, client, given)

	schemaName, table := "main", "go_rows"
	info, err = client.GetTables(ctx, &flightsql.GetTablesOpts{DbSchemaFilterPattern: &schemaName, IncludeSchema: true})
	tables, _ := read(ctx, client, info, err)
	check("tables", strings.Contains(strings.Join(tables["table_name"], " "), "go_bulk go_rows go_typed"), tables["table_name"])
	info, err = client.GetPrimaryKeys(ctx, flightsql.TableRef{DBSchema: &schemaName, Table: table})
	keys, _ := read(ctx, client, info, err)
	check("keys", reflect.DeepEqual(keys["column_name"], []string{"id"}), keys)
	info, err = client.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{})
	schemas, _ := read(ctx, client, info, err)
	check("schemas", strings.Contains(strings.Join(schemas["db_schema_name"], " "), "main memory otel"), schemas)
	info, err = client.GetCatalogs(ctx)
	catalogs, _ := read(ctx, client, info, err)
	check("catalogs", reflect.DeepEqual(catalogs["catalog_name"], []string{"sheaf_db"}), catalogs)
	info, err = client.GetTableTypes(ctx)
	kinds, _ := read(ctx, client, info, err)
	check("types of tables", len(kinds["table_type"]) == 3, kinds)
	info, err = client.GetSqlInfo(ctx, nil)
	infos, _ := read(ctx, client, info, err)
	check("SqlInfo", len(infos["info_name"]) > 80, len(infos["info_name"]))
	info, err = client.GetXdbcTypeInfo(ctx, nil)
	numbers, _ := read(ctx, client, info, err)
	check("XdbcTypeInfo", len(numbers["type_name"]) > 15, numbers["type_name"])
	cancelled(ctx, client)
}

// asParameters sends each type that an untyped parameter can have to a prepared statement, and reads it back.
func asParameters(ctx context.Context, client *flightsql.Client, given arrow.RecordBatch) {
	for i, column := range given.Columns() {
		name := given.ColumnName(i)
		if arrow.IsNested(column.DataType().ID()) {
			continue
		}
		statement, err := client.Prepare(ctx, "SELECT ? AS v")
		must(err)
		one := array.NewSlice(column, 0, 1)
		statement.SetParameters(array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "v", Type: column.DataType(), Nullable: true}}, nil),
			[]arrow.Array{one}, 1))
		info, err := statement.Execute(ctx)
		back, schema := read(ctx, client, info, err)
		check("as a parameter: "+name, reflect.DeepEqual(back["v"], []string{column.ValueStr(0)}), column.ValueStr(0), back["v"],
			schema.Field(0).Type)
		must(statement.Close(ctx))
	}
}

func cancelled(ctx context.Context, client *flightsql.Client) {
	info, err := client.Execute(ctx, slow)
	must(err)
	ended := make(chan error)
	go func() {
		reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
		if err == nil {
			reader.Next()
			err = reader.Err()
			reader.Release()
		}
		ended <- err
	}()
	time.Sleep(500 * time.Millisecond)
	result, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
	check("cancelling is answered", err == nil && result.Status == flight.CancelStatusCancelled, result, err)
	select {
	case err = <-ended:
		check("a statement that was cancelled ends", codeOf(err) == codes.Canceled, err)
	case <-time.After(20 * time.Second):
		check("a statement that was cancelled ends", false, "it runs on")
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: flight-go ADDRESS")
		os.Exit(2)
	}
	ctx, stop := context.WithTimeout(context.Background(), 200*time.Second)
	defer stop()
	byDatabaseSQL(ctx, os.Args[1])
	byClient(ctx, os.Args[1])
	if failed {
		os.Exit(1)
	}
}
