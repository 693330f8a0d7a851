module example.com/mt5relay-example

go 1.18

require github.com/gomodule/redigo v1.8.3
