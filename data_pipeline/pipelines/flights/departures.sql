-- Each flight with what could be known of weather, plane and destination before it left.
SELECT
    f.time_hour,
    f.carrier,
    f.flight,
    f.origin,
    f.dest,
    f.flight_date,
    f.scheduled_departure,
    f.scheduled_hour,
    f.scheduled_arrival_hour,
    f.distance_miles,
    f.status,
    f.departure_delay,
    f.arrival_delay,
    p.manufacturer,
    p.seats,
    CAST(extract(year FROM f.flight_date) AS bigint) - p.built_year AS plane_age_years,
    a.altitude_feet AS dest_altitude_feet,
    w.wind_from,
    w.wind_speed_mph,
    w.wind_gust_mph,
    w.temperature_f,
    w.humidity_percent,
    w.precipitation_inches,
    w.pressure_millibars,
    w.visibility_miles,
    f.role,
    f.probability,
    f.unit,
    f.weight
FROM {flights} AS f
-- The hour before: the observation of the hour itself is made at its end, often after departure.
LEFT JOIN {weather} AS w
    ON w.origin = f.origin AND w.time_hour = f.time_hour - INTERVAL '1 hour'
LEFT JOIN {planes} AS p ON p.tailnum = f.tailnum
LEFT JOIN {airports} AS a ON a.faa = f.dest
