module example.com/chasqui

go 1.19
