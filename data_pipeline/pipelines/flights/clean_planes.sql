-- Planes with one name for each manufacturer and without implausible years.
SELECT
    tailnum,
    CASE WHEN year BETWEEN 1903 AND 2013 THEN year END AS built_year,
    type,
    CASE
        WHEN manufacturer LIKE 'AIRBUS%' THEN 'AIRBUS'
        WHEN manufacturer LIKE 'BOMBARDIER%' OR manufacturer = 'CANADAIR' THEN 'BOMBARDIER'
        WHEN manufacturer LIKE 'MCDONNELL DOUGLAS%' THEN 'MCDONNELL DOUGLAS'
        ELSE manufacturer
    END AS manufacturer,
    model,
    engines,
    seats,
    engine
FROM {planes}
