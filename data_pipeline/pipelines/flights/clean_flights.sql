-- Flights with real instants and dates instead of HHMM numbers, and what became of each.
SELECT
    time_hour,
    carrier,
    flight,
    nullif(trim(tailnum), '') AS tailnum,
    origin,
    dest,
    distance AS distance_miles,
    make_date(CAST(year AS integer), CAST(month AS integer), CAST(day AS integer)) AS flight_date,
    time_hour + make_interval(mins => CAST(minute AS integer)) AS scheduled_departure,
    hour AS scheduled_hour,
    sched_arr_time / 100 AS scheduled_arrival_hour,
    dep_delay AS departure_delay,
    arr_delay AS arrival_delay,
    air_time AS air_minutes,
    CASE
        WHEN dep_time IS NULL THEN 'cancelled'
        -- It left, but has no arrival as planned: it landed elsewhere or was not recorded.
        WHEN arr_delay IS NULL THEN 'diverted'
        ELSE 'flown'
    END AS status,
    role,
    probability,
    unit,
    weight
FROM {flights}
