<#
.SYNOPSIS
Stops and removes what install-service.ps1 made. Folder, key and log stay.
.EXAMPLE
.\remove-service.ps1 -Terminal main -Nssm C:\tools\nssm.exe
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [ValidatePattern('^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$')][string]$Terminal = 'main',
    [Parameter(Mandatory = $true)][string]$Nssm
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$service = "mt5relay-worker-$Terminal"

if ($null -eq (Get-Service -Name $service -ErrorAction SilentlyContinue)) {
    Write-Output "no service $service"
    exit 0
}
if ($PSCmdlet.ShouldProcess($service, 'stop and remove')) {
    Stop-Service -Name $service
    & $Nssm remove $service confirm | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "nssm remove ${service}: $LASTEXITCODE" }
    Write-Output "removed $service"
}
